"""A self-contained HTML page that works offline: its frame, and what all pages have: charts and lists."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

_STYLE = """body{font:16px/1.5 sans-serif;color:#111;background:#fff;max-width:1100px;margin:2em auto;
padding:0 1em}h1,h2{line-height:1.2}
.verdict{border-left:5px solid #0072b2;padding:.5em 1em;background:#f2f7fb}.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;margin:1em 0}
td,th{padding:4px 8px;border-bottom:1px solid #ccc;text-align:right}
td{white-space:nowrap}td:first-child,th:first-child,.words :last-child{text-align:left}
.words td:last-child{white-space:normal;min-width:24em}
.runs th{cursor:pointer}.runs :nth-child(2){text-align:left}
.best td{background:#f2f7fb;font-weight:bold}
@media print{table{font-size:7px}td,th{padding:2px 3px}.js-plotly-plot{break-inside:avoid}}
pre{white-space:pre-wrap;background:#f5f5f5;padding:1em}"""


def page(title: str, heading: str, body: str) -> str:
    """A whole page; title and heading are text, the body is HTML."""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>pghot: {escape(title)}</title><style>{_STYLE}</style>"
        f"<script>{get_plotlyjs()}</script><h1>{escape(heading)}</h1>{body}</html>"
    )


def drawn(figures: Sequence[go.Figure]) -> str:
    """Charts, one below the other."""
    return "".join(
        figure.to_html(
            full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True}
        )
        for figure in figures
    )


def listed(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""
