"""Misses and writes by region over time as a picture."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from pghot.printable import elided, printable
from pghot.recording.activity import COLUMNS, Activity
from pghot.report.pictures import GREY, saved
from pghot.report.region_colours import OTHERS, RegionColours

_NAME = 40


def draw(found: Activity, suffix: str) -> bytes:
    """Regions one above the other, the first few by name; `suffix` is one of `files.PICTURES`."""
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    colours = RegionColours(found.regions)
    own = len(colours.named)
    names = [elided(printable(name), _NAME) for name in colours.named]
    others = len(found.regions) - own
    for axes, what in zip(panels, ("misses", "writes"), strict=True):
        rates = found.by_region[COLUMNS.index(what)] / (found.time.bin_ns / 1e9)
        axes.stackplot(
            found.time.seconds,
            *rates[:own],
            *([rates[own:].sum(axis=0)] if others else []),
            colors=[*map(colours.of, colours.named), OTHERS],
            labels=[*names, f"{others} others"],
            step="post",
            linewidth=0,
        )
        for at in found.time.of_gaps(found.recorded):
            axes.axvspan(*at, facecolor="none", edgecolor=GREY, hatch="////", linewidth=0)
        axes.set_ylabel(f"{what} per second")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(EngFormatter())
        axes.spines[["top", "right"]].set_visible(False)
    panels[1].set_xlim(0, found.time.bins * found.time.bin_ns / 1e9)
    panels[1].set_xlabel("s" if found.recorded.all() else "s (hatched: nobody looked)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.suptitle(printable(found.name), fontsize=11)
    return saved(figure, suffix)
