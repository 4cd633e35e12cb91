"""The charts of a recording's page. A region has its colour; what is of no region has the colour of the text."""

from __future__ import annotations

from html import escape

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from pghot.arrays import Bool
from pghot.printable import elided, printable
from pghot.recording.activity import COLUMNS, Activity
from pghot.recording.hot_curve import Counts, hot_curve, ladder
from pghot.recording.time_bins import TimeBins
from pghot.recording.working_set import PERCENTS, WorkingSet
from pghot.report.html import Chart
from pghot.report.region_colours import OTHERS, RegionColours
from pghot.units import format_duration, format_number, format_short_size

_POINTS = 121
_MIB = 1 << 20
_LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}


def hot_set(misses: Counts, page_bytes: int) -> list[Chart]:
    """The hot-set curve; nothing without misses. misses: uint64[footprint], of each touched page."""
    if not misses.any():
        return []
    pages = ladder(len(misses), _POINTS)
    shares = 100 * pages / len(misses)
    whole = len(misses) * page_bytes
    figure = go.Figure(
        go.Scatter(
            x=shares,
            y=100 * hot_curve(misses, pages),
            mode="lines",
            meta="ink",
            text=[format_short_size(count * page_bytes) for count in pages.tolist()],
            hovertemplate="the hottest %{text} (%{x:.2f} %) take %{y:.1f} %<extra></extra>",
        )
    )
    ticks = (0.1, 1, 10, 100)
    figure.update_xaxes(
        type="log",
        range=[-1, 2.005],
        tickvals=ticks,
        ticktext=[f"{format_number(tick)} %<br>{format_short_size(whole * tick / 100)}" for tick in ticks],
        title="hottest memory, share of what was touched",
    )
    figure.update_yaxes(range=[0, 101], title="share of the misses (%)")
    look(figure, legend=False)
    note = "Which share of all cache misses the hottest memory takes: the hottest page, then the next, and so on."
    return [Chart("Hot set", note, figure)]


def working_set(found: WorkingSet) -> list[Chart]:
    """Memory touched in each window, and the least that takes 50, 90 and 99 % of its misses."""
    if not found.touched.any():
        return []
    curves = {"touched": found.touched}
    if found.misses.any():
        curves |= {
            f"{percent} % of misses": found.taking[i] for i, percent in reversed(list(enumerate(PERCENTS)))
        }
    figure = go.Figure()
    for number, (name, pages) in enumerate(curves.items()):
        figure.add_scatter(
            x=found.time.seconds,
            y=known(pages * (found.page_bytes / _MIB), found.recorded),
            name=name,
            mode="lines",
            meta="ink",
            line={"dash": ("solid", "dash", "dashdot", "dot")[number], "shape": "hv", "width": 1.5},
        )
    figure.update_xaxes(title="s")
    figure.update_yaxes(title="MiB", rangemode="tozero")
    look(figure)
    mark_unseen(figure, found.time, found.recorded)
    note = (
        f"Memory touched in each window of {format_duration(found.time.bin_ns)}, and the least memory that takes so "
        f"much of the window's misses.{unseen_words(found.recorded)}"
    )
    return [Chart("Working set over time", note, figure)]


def timeline(found: Activity, colours: RegionColours) -> list[Chart]:
    """Misses and writes by region over time, one above the other; none of what was not recorded."""
    charts = []
    for what in ("misses", "writes"):
        counts = found.by_region[COLUMNS.index(what)]
        if counts.any():
            note = f"Per second, the regions one above the other.{unseen_words(found.recorded)}"
            figure, keys = _stacked(found, counts, colours)
            charts.append(Chart(f"{what.capitalize()} by region", note, figure, keys))
    return charts


def _stacked(
    found: Activity, counts: Counts, colours: RegionColours
) -> tuple[go.Figure, tuple[tuple[str, str], ...]]:
    own = [number for number, name in enumerate(found.regions) if name in colours.named]
    rest = [number for number in range(len(found.regions)) if number not in own]
    areas = [
        (elided(printable(found.regions[number]), 32), colours.of(found.regions[number]), counts[number])
        for number in own
    ]
    if rest:
        areas.append((f"{len(rest)} others", OTHERS, counts[rest].sum(axis=0)))
    figure = go.Figure()
    for name, colour, values in areas:
        figure.add_scatter(
            x=found.time.seconds,
            y=rounded(values / (found.time.bin_ns / 1e9)),
            name=escape(name),
            mode="lines",
            stackgroup="all",
            line={"color": colour, "width": 0, "shape": "hv"},
            fillcolor=colour,
        )
    figure.update_xaxes(title="s")
    figure.update_yaxes(title="per second", exponentformat="SI")
    look(figure, legend=False)
    mark_unseen(figure, found.time, found.recorded)
    return figure, tuple((colour, name) for name, colour, _ in areas)


def look(figure: go.Figure, legend: bool = True) -> None:
    figure.update_layout(
        template="simple_white",
        height=380,
        margin={"l": 60, "r": 40, "t": 30},
        showlegend=legend,
        legend=_LEGEND,
    )


def mark_unseen(figure: go.Figure, time: TimeBins, recorded: Bool) -> None:
    for begin, end in time.of_gaps(recorded):
        figure.add_vrect(begin, end, fillcolor=OTHERS, opacity=0.25, line_width=0)


def unseen_words(recorded: Bool) -> str:
    return "" if recorded.all() else " Grey: nobody looked."


def known(values: npt.NDArray[np.floating], recorded: Bool) -> list[float | None]:
    return [
        value if looked else None for value, looked in zip(rounded(values), recorded.tolist(), strict=True)
    ]


def rounded(values: npt.NDArray[np.floating]) -> list[float]:
    """Four digits are more than a screen shows, and a page of half the size."""
    return [float(f"{value:.4g}") for value in values.tolist()]
