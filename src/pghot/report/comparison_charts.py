"""The charts of the comparison's page. A colour means one thing on all of it: movers have that of their class, grey is
what does not move pages, browns are nodes, the faster the darker, and two more are ways to compress.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from pghot.lab.outcomes import EpochRow, SummaryRow
from pghot.lab.results import Comparison
from pghot.lab.verdict import TITLES
from pghot.recording.ratios import HISTOGRAM_STEP
from pghot.report import class_colours
from pghot.report.class_colours import CLASS_COLOURS, LEGEND, OTHER, colour_of
from pghot.report.facts import Facts
from pghot.report.html import Chart
from pghot.units import PAGE_BYTES, counted, format_share

_NODES = ("#6b4423", "#b5834e", "#e3c9a4")
_ALGORITHMS = ("#d55e00", "#56b4e9")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_MARGIN = {"l": 10, "r": 10, "t": 30}


def all_charts(result: Comparison) -> list[Chart]:
    """The page's charts, in order."""
    rows = result.rows
    return [
        *speedups(rows),
        misses_by_node(rows),
        durations(result),
        moves(result),
        coverage_and_overhead(rows),
        *page_contents(result.setup.compressibility),
    ]


def speedups(rows: Sequence[SummaryRow]) -> list[Chart]:
    """Gain of each run over doing nothing; nothing to draw when no run compares with that."""
    known = [(row.figures.speedup, row) for row in rows if row.figures.speedup is not None]
    if not known:
        return []
    known.sort(key=lambda pair: -pair[0])
    gains = [100 * (speedup - 1) for speedup, _ in known]
    spread = [100 * (row.ci95["speedup"] or 0) for _, row in known]
    figure = go.Figure(
        go.Bar(
            x=gains,
            y=[escape(row.label) for _, row in known],
            orientation="h",
            marker_color=[colour_of(row) for _, row in known],
            error_x={"array": spread, "visible": any(spread)},
        )
    )
    figure.add_scatter(
        x=[gain + (half if gain >= 0 else -half) for gain, half in zip(gains, spread, strict=True)],
        y=figure.data[0].y,
        mode="text",
        text=[f" {format_share(gain / 100, sign='+')} " for gain in gains],
        textposition=["middle right" if gain >= 0 else "middle left" for gain in gains],
        hoverinfo="skip",
        cliponaxis=False,
    )
    room = 0.2 * (max(gains) - min(gains)) + 1  # for the labels outside the bars
    _bars(figure, len(known), "gain over 'none' (%)")
    figure.update_xaxes(range=[min(gains) - room, max(gains) + room])
    figure.update_layout(margin_r=60)
    return [Chart("Gain over doing nothing", f"After the warm-up. {LEGEND}", figure)]


def misses_by_node(rows: Sequence[SummaryRow]) -> Chart:
    """Which node served how much of the cache misses."""
    labels = [escape(row.label) for row in rows]
    figure = go.Figure()
    for number, name in enumerate(rows[0].node_shares):
        figure.add_bar(
            x=[100 * row.node_shares[name] for row in rows],
            y=labels,
            orientation="h",
            name=escape(name),
            marker_color=_NODES[number % len(_NODES)],
        )
    _bars(figure, len(rows), "share of all misses (%)")
    figure.update_layout(
        barmode="stack",
        showlegend=True,
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "traceorder": "normal"},
    )
    figure.update_xaxes(range=[0, 100])
    return Chart("Who serves the cache misses", "The warm-up is included.", figure)


def durations(result: Comparison) -> Chart:
    """How long each part of the program takes under the best mover of each class and the yardsticks."""
    shown = _labels_of(result, "none", "all-fast", "oracle-epoch", "numab2")
    figure = go.Figure()
    for label, line in _lines(result, shown).items():
        epochs = _epochs(result)[label]
        figure.add_scatter(
            x=_seconds(epochs),
            y=[e.duration_ms for e in epochs],
            name=escape(label),
            mode="lines",
            line=line,
        )
    return _over_time(figure, result, shown, "Over time: run time", "each epoch takes (ms)")


def moves(result: Comparison) -> Chart:
    """Promotions (up) and demotions (down) of the movers."""
    shown = _labels_of(result, "numab2", "oracle-epoch")
    figure = go.Figure()
    for label, line in _lines(result, shown).items():
        epochs = _epochs(result)[label]
        at = _seconds(epochs)
        figure.add_scatter(
            x=at,
            y=[e.promotions for e in epochs],
            name=escape(label),
            mode="lines",
            line=line,
            legendgroup=label,
        )
        figure.add_scatter(
            x=at,
            y=[-e.demotions for e in epochs],
            name=escape(label),
            mode="lines",
            line=line,
            legendgroup=label,
            showlegend=False,
        )
    return _over_time(figure, result, shown, "Over time: pages moved", "up, or down below 0 (pages)")


def coverage_and_overhead(rows: Sequence[SummaryRow]) -> Chart:
    """What the hot set's presence in fast memory costs the program."""
    figure = go.Figure()
    for runs_on, colour in CLASS_COLOURS.items():
        chosen = [
            (100 * row.figures.coverage, row)
            for row in rows
            if class_colours.moves(row) and row.runs_on == runs_on and row.figures.coverage is not None
        ]
        figure.add_scatter(
            x=[100 * (row.figures.tracking_app_share + row.figures.moving_app_share) for _, row in chosen],
            y=[coverage for coverage, _ in chosen],
            text=[escape(row.label) for _, row in chosen],
            hovertemplate="%{text}<br>%{y:.1f} % covered for %{x:.2f} %<extra></extra>",
            mode="markers",
            marker={"size": 10, "color": colour, "symbol": "diamond" if runs_on == "nowhere" else "circle"},
            name={**TITLES, "nowhere": "Knows the future"}[runs_on],
        )
    figure.update_layout(
        xaxis_title="cost (% of the time)",
        yaxis_title="hot set in fast memory (%)",
        template="simple_white",
        height=420,
        margin=_MARGIN,
        legend={"orientation": "h", "y": -0.25},
    )
    note = (
        "How much of its time the program spends on tracking and moving, and how much of the hot set is fast."
    )
    return Chart("Coverage of the hot set, and what it costs the program", note, figure)


def page_contents(facts: Facts | None) -> list[Chart]:
    """How small the pages get, whole, under each algorithm; nothing when that was not sampled."""
    if facts is None:
        return []
    figure = go.Figure()
    for number, coding in enumerate(c for c in facts["codings"] if c["block_bytes"] == PAGE_BYTES):
        figure.add_bar(
            x=[HISTOGRAM_STEP * (step + 0.5) for step in range(len(coding["histogram"]))],
            y=[100 * count / facts["samples"] for count in coding["histogram"]],
            width=HISTOGRAM_STEP / 2 - 16,
            offset=(number - 1) * HISTOGRAM_STEP / 2 + 8,
            name=f"{escape(coding['algorithm'])}: {coding['ratio']:.2f} to 1",
            marker_color=_ALGORITHMS[number % len(_ALGORITHMS)],
        )
    origin = f" in {facts['origin']}" if facts["origin"] else ""
    figure.update_layout(
        xaxis_title="bytes of a compressed page",
        yaxis_title="share of the pages (%)",
        template="simple_white",
        height=420,
        margin=_MARGIN,
        legend={"orientation": "h", "y": -0.25},
    )
    note = (
        f"Pages of 4 KiB, compressed whole. {counted(facts['samples'], 'sample')}{origin}; "
        f"{format_share(facts['zero_share'])} "
        f"are zero pages, {format_share(facts['same_filled_share'])} same-filled."
    )
    return [Chart("What the pages shrink to", note, figure)]


def _bars(figure: go.Figure, rows: int, axis: str) -> None:
    figure.update_layout(
        xaxis_title=axis,
        template="simple_white",
        height=130 + 24 * rows,
        margin=_MARGIN,
        showlegend=False,
    )
    figure.update_yaxes(autorange="reversed", automargin=True)


def _labels_of(result: Comparison, *policies: str) -> list[str]:
    """The best mover of each class, and then every run of these policies."""
    best = [row.label for row in result.rows if row.label in result.verdict.best_labels]
    yardsticks = [row.label for name in policies for row in result.rows if row.policy == name]
    return list(dict.fromkeys(best + yardsticks))


def _epochs(result: Comparison) -> dict[str, list[EpochRow]]:
    """The first seed's epochs of each run."""
    runs: dict[str, list[EpochRow]] = {}
    for row in result.epochs:
        if row.seed == result.setup.first_seed:
            runs.setdefault(row.label, []).append(row)
    return runs


def _lines(result: Comparison, shown: Sequence[str]) -> dict[str, dict[str, str]]:
    """The look of each run that is drawn over time: the colour of its class, and a dash of its own within that."""
    looks: dict[str, dict[str, str]] = {}
    rows = {row.label: row for row in result.rows}
    for label in shown:
        if label not in _epochs(result):
            continue
        colour = colour_of(rows[label])
        same = sum(look["color"] == colour for look in looks.values())
        looks[label] = {"color": colour, "dash": _DASHES[same % len(_DASHES)]}
    return looks


def _seconds(epochs: Sequence[EpochRow]) -> list[float]:
    """When each epoch begins, since the run began: a faster run is earlier at the same place of the program."""
    return [each.elapsed_s - each.duration_ms / 1e3 for each in epochs]


def _over_time(figure: go.Figure, result: Comparison, shown: Sequence[str], title: str, axis: str) -> Chart:
    """shown: the runs that are drawn."""
    runs = _epochs(result)
    if warmup := result.setup.warmup_epochs:
        ends = [runs[label][warmup - 1].elapsed_s for label in shown if label in runs]
        figure.add_vrect(0, max(ends, default=0.0), fillcolor=OTHER, opacity=0.15, line_width=0)
    figure.update_layout(
        xaxis_title="s since the run began",
        yaxis_title=axis,
        template="simple_white",
        height=440,
        margin=_MARGIN,
        showlegend=True,
        legend={"orientation": "h", "y": -0.25},
    )
    note = (
        "First seed; the best movers beside their yardsticks. Shaded until the last of them ends its warm-up."
    )
    return Chart(title, note, figure)
