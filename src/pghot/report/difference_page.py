"""Two recordings, or two results, side by side as one self-contained HTML page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from pghot.lab.results_difference import ResultRow, ResultsDifference
from pghot.printable import elided, printable
from pghot.recording.difference import Difference
from pghot.report import difference_text, results_difference_text
from pghot.report.heat_levels import short
from pghot.report.html import Chart, drawn, listed, page
from pghot.report.region_colours import COLOURS, OTHERS
from pghot.report.templates import filled
from pghot.units import format_percent, format_short_size
from pghot.version import __version__

Cell = tuple[str, float | None]  # what is shown, and what it sorts by; None: by the text
_KEYS = ((OTHERS, "before"), (COLOURS[0], "after"))
_DRAWN = 16
_NAME = 28
_LEAST = -1e308  # sorts what is not known below everything else


def recordings_page(found: Difference, command: Sequence[str]) -> str:
    """The page of two recordings; every string from outside is escaped."""
    shown = found.changes[:_DRAWN]
    bars = _bars(
        [each.name for each in shown],
        [100 * each.share_before for each in shown],
        [100 * each.share_after for each in shown],
        f"share of the {found.measure} (%)",
    )
    rows: list[list[Cell]] = [
        [
            (printable(each.name), None),
            (format_short_size(each.bytes_before), each.bytes_before),
            (format_short_size(each.bytes_after), each.bytes_after),
            (short(each.rate_before), each.rate_before),
            (short(each.rate_after), each.rate_after),
            (format_percent(points := each.share_after - each.share_before, sign="+"), points),
            (", ".join(each.words), None),
        ]
        for each in found.changes
    ]
    heads = (
        "region", "touched before", "after", f"{found.measure}/s before", "after", "points of share", "change",
    )  # fmt: skip
    chart = Chart("Where the heat is", "The regions whose share changed most come first.", bars, _KEYS)
    head = difference_text.head_lines(found)
    return _page(
        "Two recordings", "What grew, cooled and moved", head, chart, "Regions", heads, rows, command
    )


def results_page(found: ResultsDifference, command: Sequence[str]) -> str:
    """The page of two results; every string from outside is escaped."""
    known = [(run.label, run.before, run.after) for run in found.runs if run.gained is not None]
    bars = _bars(
        [label for label, _, _ in known],
        [100 * _gain(before) for _, before, _ in known],
        [100 * _gain(after) for _, _, after in known],
        "gain over 'none' (%)",
        ([100 * _half(before) for _, before, _ in known], [100 * _half(after) for _, _, after in known]),
    )
    rows: list[list[Cell]] = []
    for run in found.runs:
        sides = (run.before, run.after)
        moved = [row.moved_mb if row else None for row in sides]
        rows.append(
            [
                (printable(run.label), None),
                *((results_difference_text.gain(row), _or_least(row.gain if row else None)) for row in sides),
                ("" if run.gained is None else format_percent(run.gained, sign="+"), _or_least(run.gained)),
                *(("–" if value is None else f"{value:,.0f}", _or_least(value)) for value in moved),
                ("the intervals are apart" if run.apart else "", None),
            ]
        )
    heads = ("run", "gain before, %", "after", "change", "moved before, MB", "after", "what it says")
    chart = Chart("Gain over doing nothing", "With 95 % intervals over the seeds. Simulated.", bars, _KEYS)
    head = results_difference_text.head_lines(found)
    return _page("Two results", "What gains more, what less", head, chart, "Runs", heads, rows, command)


def _gain(row: ResultRow | None) -> float:
    return row.gain or 0.0 if row else 0.0


def _half(row: ResultRow | None) -> float:
    return row.speedup_ci95 or 0.0 if row else 0.0


def _or_least(value: float | None) -> float:
    return _LEAST if value is None else value


def _bars(
    names: Sequence[str],
    before: Sequence[float],
    after: Sequence[float],
    axis: str,
    halves: Sequence[Sequence[float]] = ((), ()),
) -> go.Figure:
    figure = go.Figure()
    labels = [escape(elided(printable(name), _NAME)) for name in names]
    for (colour, place), values, half in zip(_KEYS, (before, after), halves, strict=True):
        figure.add_bar(
            y=labels, x=values, name=place, orientation="h", marker_color=colour,
            error_x={"array": list(half), "visible": bool(half)},
        )  # fmt: skip
    figure.update_layout(
        template="simple_white", height=120 + 36 * len(names), margin={"l": 10, "r": 10, "t": 10}, showlegend=False,
        barmode="group", xaxis_title=axis,
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def _page(
    title: str,
    heading: str,
    head: Sequence[str],
    chart: Chart,
    of: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    command: Sequence[str],
) -> str:
    body = filled(
        "difference.html",
        head=listed(head),
        charts=drawn([chart]),
        title=of,
        heads=heads,
        rows=rows,
        reproduce=shlex.join(command),
        version=__version__,
    )
    return page(title, heading, body)
