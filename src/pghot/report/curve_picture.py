"""Curves over the size of the fast tier as a picture: PNG, SVG or PDF."""

from __future__ import annotations

import io

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pghot.lab.curve import WAYS, Curve
from pghot.printable import printable
from pghot.units import format_size

# Okabe and Ito's palette, and another dash for each line: told apart without colours, too.
_COLOURS = ("#888888", "#0072b2", "#009e73")
_DASHES = ("--", "-", ":")


def draw(found: Curve, suffix: str) -> bytes:
    """Slowdown and share of slow misses over the size of the fast tier; `suffix` is one of `files.PICTURES`."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    slowdown, misses = figure.subplots(1, 2)
    for way, colour, dash in zip(WAYS, _COLOURS, _DASHES, strict=True):
        points = found.of(way)
        shares = [100 * point.fast_share for point in points]
        look = {"color": colour, "linestyle": dash, "marker": "o", "markersize": 3.5, "label": way}
        slowdown.plot([0, *shares], [found.slow_slowdown, *(point.slowdown for point in points)], **look)
        misses.plot([0, *shares], [100, *(100 * point.slow_miss_share for point in points)], **look)
    slowdown.axhline(1.05, color="#d55e00", linewidth=0.8)
    slowdown.annotate("5 % slower", (99, 1.05), ha="right", va="bottom", fontsize=8, color="#d55e00")
    slowdown.set_ylabel("time over that with all memory fast (predicted)")
    slowdown.set_ylim(bottom=0.98)
    misses.set_ylabel("cache misses that slow memory serves, %")
    misses.set_ylim(0, 101)
    for axes in (slowdown, misses):
        _over_shares(axes, found)
    slowdown.legend(frameon=False)
    figure.suptitle(printable(f"{found.trace}: {found.tiers}"), fontsize=11)
    return saved(figure, suffix)


def _over_shares(axes: Axes, found: Curve) -> None:
    """The lower axis is the share of the footprint, the upper one the same in bytes."""
    axes.set_xlim(0, 100)
    axes.set_xlabel("fast memory, % of the footprint")
    upper = axes.secondary_xaxis("top")
    ticks = range(0, 101, 25)
    upper.set_xticks(
        ticks, [format_size(found.similarity.footprint_bytes * tick / 100) for tick in ticks], fontsize=8
    )
    axes.grid(alpha=0.25)
    axes.spines[["right"]].set_visible(False)


def saved(figure: Figure, suffix: str) -> bytes:
    """The figure as a file of this kind; the same figure gives the same bytes."""
    sink = io.BytesIO()
    dates = {".svg": "Date", ".pdf": "CreationDate"}
    undated = {dates[suffix]: None} if suffix in dates else {}
    with rc_context({"svg.hashsalt": "pghot"}):
        figure.savefig(sink, format=suffix.removeprefix("."), dpi=150, metadata=undated)
    return sink.getvalue()
