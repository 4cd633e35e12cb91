"""The life of a page or a region as a picture: touches, misses and writes over time."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from pghot.printable import elided, printable
from pghot.recording.life import COLUMNS, Life
from pghot.report.pictures import COLOURS, GREY, saved

_NAME = 80


def draw(found: Life, suffix: str) -> bytes:
    """One panel for each of `COLUMNS`; `suffix` is one of `files.PICTURES`."""
    figure = Figure(figsize=(10, 5.5), layout="constrained")
    panels = figure.subplots(len(COLUMNS), 1, sharex=True)
    for axes, column, counts, colour in zip(panels, COLUMNS, found.counts, COLOURS, strict=False):
        rate = np.where(found.recorded, counts / (found.time.bin_ns / 1e9), np.nan)
        axes.fill_between(found.time.seconds, rate, step="post", color=colour, linewidth=0)
        for at in found.time.of_gaps(found.recorded):
            axes.axvspan(*at, facecolor="none", edgecolor=GREY, hatch="////", linewidth=0)
        axes.set_ylabel(f"{column} per second")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(EngFormatter())
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlim(0, found.time.bins * found.time.bin_ns / 1e9)
    panels[-1].set_xlabel("s" if found.recorded.all() else "s (hatched: nobody looked)")
    figure.suptitle(printable(elided(f"{found.target.title}, {found.name}", _NAME)), fontsize=11)
    return saved(figure, suffix)
