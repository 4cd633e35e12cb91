"""What each run of a comparison gains over doing nothing, as a picture."""

from __future__ import annotations

import textwrap

from matplotlib.figure import Figure

from pghot.lab.results import Comparison
from pghot.printable import printable
from pghot.report.class_colours import LEGEND, colour_of
from pghot.report.pictures import saved
from pghot.units import format_share

_ROW_INCHES = 0.28


def draw(result: Comparison, suffix: str) -> bytes:
    """A bar for each run, the largest gain first; lines are 95 % intervals. `suffix` is one of `files.PICTURES`."""
    known = [(row.figures.speedup - 1, row) for row in result.rows if row.figures.speedup is not None]
    known.sort(key=lambda pair: pair[0])
    figure = Figure(figsize=(9, 1.6 + _ROW_INCHES * len(known)), layout="constrained")
    axes = figure.subplots()
    if not known:
        axes.text(
            0.5, 0.5, "no run compares with 'none': it did not do all its work", transform=axes.transAxes, ha="center"
        )  # fmt: skip
    gains = [100 * gain for gain, _ in known]
    halves = [100 * (row.ci95["speedup"] or 0.0) for _, row in known]
    bars = axes.barh(
        [printable(row.label) for _, row in known], gains, color=[colour_of(row) for _, row in known]
    )
    if any(halves):
        axes.errorbar(gains, range(len(known)), xerr=halves, fmt="none", ecolor="#000000", elinewidth=0.8)
    axes.bar_label(bars, [f" {format_share(gain, sign='+')} " for gain, _ in known], fontsize=8, padding=2)
    axes.margins(x=0.15)
    axes.axvline(0, color="#000000", linewidth=0.8)
    axes.set_xlabel("\n".join(["gain over 'none', %, simulated", *textwrap.wrap(LEGEND, 125)]), fontsize=8)
    axes.tick_params(axis="y", labelsize=8, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_title(printable(f"{result.setup.trace} on {result.setup.tiers}"), fontsize=11)
    return saved(figure, suffix)
