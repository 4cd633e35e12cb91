"""A heat map as a picture: memory by its addresses from the top down, time from the left."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure

from pghot.printable import elided, printable
from pghot.recording.heat import HeatMap
from pghot.report.heat_colours import STEPS, hexadecimal, seen
from pghot.report.heat_levels import heat_of, levels_of
from pghot.report.pictures import GREY, saved

_NAME = 28
_LABEL_SHARE = 1 / 36  # of the height of the map, what a name takes


def draw(found: HeatMap, suffix: str) -> bytes:
    """`suffix` is one of `files.PICTURES`. Cells are one raster, also in SVG and PDF."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots()
    heat = heat_of(found)
    levels = levels_of(found, heat)
    seconds = found.time.bins * found.time.bin_ns / 1e9
    axes.set_xlim(0, seconds)
    axes.set_xlabel("s")
    axes.set_title(printable(found.name), fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    if levels.most:
        colours = ListedColormap([hexadecimal(colour) for colour in seen(False, STEPS)])
        most = levels.most if levels.most > levels.least else levels.most * 1.01
        legend = ScalarMappable(LogNorm(levels.least, most, clip=True), colours)
        axes.imshow(
            # Colours of cells, not of dots: matplotlib would hold four floating-point numbers for each dot.
            legend.to_rgba(np.ma.masked_equal(heat, 0.0), bytes=True),
            aspect="auto",
            interpolation="nearest",
            extent=(0, seconds, len(found.rows), 0),
        )
        figure.colorbar(legend, ax=axes, label=levels.unit, pad=0.01)
    else:
        axes.text(0.5, 0.5, f"no {found.measure} were recorded", transform=axes.transAxes, ha="center")
    _name_rows(axes, found)
    for begin, end in found.time.of_gaps(found.recorded):
        axes.axvspan(begin, end, facecolor="none", edgecolor=GREY, hatch="////", linewidth=0)
    if not found.recorded.all():
        axes.set_xlabel("s (hatched: nobody looked)")
    return saved(figure, suffix)


def _name_rows(axes: Axes, found: HeatMap) -> None:
    """Names of regions, the hottest first, where there is room; ticks where memory is left out."""
    begins = [
        number
        for number, row in enumerate(found.rows)
        if not number
        or row.folded
        or (row.space, row.name, row.folded)
        != (found.rows[number - 1].space, found.rows[number - 1].name, found.rows[number - 1].folded)
    ]
    ends = [*begins[1:], len(found.rows)]
    hottest = sorted(
        zip(begins, ends, strict=True), key=lambda part: -sum(row.heat for row in found.rows[slice(*part)])
    )
    room = len(found.rows) * _LABEL_SHARE
    named: list[float] = []
    for begin, end in hottest:
        if all(abs((begin + end) / 2 - other) >= room for other in named):
            named.append((begin + end) / 2)
    texts = dict(
        zip([(begin + end) / 2 for begin, end in hottest], [found.rows[b] for b, _ in hottest], strict=True)
    )
    axes.set_yticks(
        named,
        ["cold" if texts[at].folded else elided(printable(texts[at].name), _NAME) for at in named],
        fontsize=7,
    )
    apart = [number for number, row in enumerate(found.rows) if number and row.gap_bytes != 0]
    axes.set_yticks(apart, minor=True)
    axes.tick_params(axis="y", which="major", length=0)
