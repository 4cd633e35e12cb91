"""The working set over time as a picture."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from pghot.printable import printable
from pghot.recording.working_set import PERCENTS, WorkingSet
from pghot.report.pictures import COLOURS, DASHES, GREY, saved
from pghot.units import format_duration

_MIB = 1 << 20


def draw(found: WorkingSet, suffix: str) -> bytes:
    """Memory touched in each window, and what takes most of its misses; `suffix` is one of `files.PICTURES`."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    axes = figure.subplots()
    curves = {"touched": (found.touched, GREY)}
    if found.misses.any():
        curves |= {
            f"{percent} % of misses": (pages, COLOURS[number])
            for number, (percent, pages) in enumerate(zip(PERCENTS, found.taking, strict=True))
        }
    for number, (name, (pages, colour)) in enumerate(curves.items()):
        mib = np.where(found.recorded, pages * (found.page_bytes / _MIB), np.nan)
        axes.step(
            found.time.seconds, mib, where="post", label=name, color=colour, linestyle=DASHES[number], lw=1.2
        )
    axes.set_xlim(0, found.time.bins * found.time.bin_ns / 1e9)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"s, in windows of {format_duration(found.time.bin_ns)}")
    axes.set_ylabel("MiB")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(printable(found.name), fontsize=11)
    return saved(figure, suffix)
