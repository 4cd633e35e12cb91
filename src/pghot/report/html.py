"""A comparison as one self-contained HTML page that works offline."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from pghot.lab.metrics import METRICS
from pghot.lab.results import Comparison
from pghot.report.text import bound_lines, setup_lines

_STYLE = """body{font:16px/1.5 sans-serif;color:#111;background:#fff;max-width:1100px;margin:2em auto;
padding:0 1em}h1,h2{line-height:1.2}
.verdict{border-left:5px solid #0072b2;padding:.5em 1em;background:#f2f7fb}.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
td,th{padding:4px 8px;border-bottom:1px solid #ccc;text-align:right}
td:first-child,th:first-child{text-align:left;white-space:nowrap}
@media print{table{font-size:7px}td,th{padding:2px 3px}}
pre{white-space:pre-wrap;background:#f5f5f5;padding:1em}"""
_COLOURS = {"mover": "#0072b2", "oracle": "#e69f00"}


def render(result: Comparison, command: Sequence[str]) -> str:
    """The page; every string from outside is escaped."""
    rows = result.summary.to_pylist()
    facts = "".join(f"<li>{escape(line)}</li>" for line in [*setup_lines(result.setup), *bound_lines(result)])
    charts = "".join(
        figure.to_html(
            full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True}
        )
        for figure in (_speedups(rows), _timeline(result))
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>pghot: {escape(result.setup['trace'])}</title><style>{_STYLE}</style>"
        f"<script>{get_plotlyjs()}</script><h1>Does moving pages pay? {escape(result.setup['trace'])}</h1>"
        f"<p class=verdict>{escape(str(result.verdict))}</p><p>All figures are simulated.</p><ul>{facts}</ul>"
        f"{charts}<h2>Runs</h2><div class=wide>{_table(rows)}</div>"
        f"<h2>Reproduce</h2><pre>{escape(shlex.join(command))}</pre></html>"
    )


def _table(rows: list[dict[str, Any]]) -> str:
    head = "".join(f"<th title='{escape(m.help, quote=True)}'>{escape(m.title)}</th>" for m in METRICS)
    body = "".join(
        f"<tr><td>{escape(row['label'])}</td>"
        + "".join(
            f"<td>{'–' if row[m.name] is None else format(row[m.name], f',.{m.digits}f')}</td>"
            for m in METRICS
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><tr><th>policy/sources</th>{head}</tr>{body}</table>"


def _speedups(rows: list[dict[str, Any]]) -> go.Figure:
    rows = sorted(rows, key=lambda row: -row["speedup"])
    gains = [100 * (row["speedup"] - 1) for row in rows]
    spread = [100 * (row["speedup_ci95"] or 0) for row in rows]
    figure = go.Figure(
        go.Bar(
            x=gains,
            y=[escape(row["label"]) for row in rows],
            orientation="h",
            marker_color=[_colour(row) for row in rows],
            error_x={"array": spread, "visible": any(spread)},
            text=[f"{gain:+.1f} %" for gain in gains],
            textposition="outside",
            cliponaxis=False,
        )
    )
    figure.update_layout(
        title="Gain over doing nothing<br><sub>blue: movers; orange: need knowledge no machine has "
        "(oracles, truth); grey: others</sub>",
        xaxis_title="steady speed-up over 'none' (%, simulated)",
        template="simple_white",
        height=180 + 24 * len(rows),
        margin={"l": 10, "r": 60},
    )
    room = 0.2 * (max(gains) - min(gains)) + 1  # for the labels outside the bars
    figure.update_xaxes(range=[min(gains) - room, max(gains) + room])
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def _colour(row: dict[str, Any]) -> str:
    kind = "oracle" if "truth" in row["sources"] else row["kind"]
    return _COLOURS.get(kind, "#888888")


def _timeline(result: Comparison) -> go.Figure:
    first = result.setup["first_seed"]
    figure = go.Figure()
    shown = ("none", "all-fast", "oracle-epoch", "numab2/hintfaults", result.verdict.best)
    points: dict[str, list[dict[str, Any]]] = {}
    for row in result.timeline.to_pylist():
        if row["seed"] == first and row["label"] in shown:
            points.setdefault(row["label"], []).append(row)
    for label, epochs in points.items():
        figure.add_scatter(
            x=[e["epoch"] for e in epochs],
            y=[e["duration_ms"] for e in epochs],
            name=escape(label),
            mode="lines",
        )
    if result.setup["warmup_epochs"]:
        figure.add_vrect(
            -0.5, result.setup["warmup_epochs"] - 0.5, fillcolor="#888888", opacity=0.15, line_width=0
        )
    figure.update_layout(
        title="Epoch by epoch, first seed<br><sub>warm-up shaded; best mover beside its yardsticks</sub>",
        xaxis_title="epoch",
        yaxis_title="epoch takes (ms, simulated)",
        template="simple_white",
        height=520,
        legend={"orientation": "h", "y": -0.25},
    )
    return figure
