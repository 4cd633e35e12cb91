"""The curve of a recording as a picture."""

from __future__ import annotations

from matplotlib.figure import Figure

from pghot.lab.curve import WAYS, Curve
from pghot.printable import printable
from pghot.report.pictures import COLOURS, DASHES, GREY, MARKS, over_shares, saved

_LOOKS = {
    "first touch": (GREY, DASHES[1], MARKS[0]),
    "hottest": (COLOURS[0], DASHES[0], MARKS[1]),
    "recency": (COLOURS[1], DASHES[2], MARKS[2]),
}


def draw(found: Curve, suffix: str) -> bytes:
    """Slowdown and share of slow misses over the size of the fast tier; `suffix` is one of `files.PICTURES`."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    slowdown, misses = figure.subplots(1, 2)
    for way in WAYS:
        points, (colour, dash, mark) = found.of(way), _LOOKS[way]
        shares = [0, *(100 * point.fast_share for point in points)]
        look = {"color": colour, "linestyle": dash, "marker": mark, "markersize": 4, "label": way}
        slowdown.plot(shares, [found.slow_slowdown, *(point.slowdown for point in points)], **look)
        misses.plot(shares, [100, *(100 * point.slow_miss_share for point in points)], **look)
    slowdown.axhline(1.05, color="#d55e00", linewidth=0.8)
    slowdown.annotate("5 % slower", (99, 1.05), ha="right", va="bottom", fontsize=8, color="#d55e00")
    slowdown.set_ylabel("time over that with all memory fast (predicted)")
    slowdown.set_ylim(bottom=0.98)
    misses.set_ylabel("cache misses that slow memory serves, %")
    misses.set_ylim(0, 101)
    for axes in (slowdown, misses):
        over_shares(axes, found.similarity.footprint_bytes)
    slowdown.legend(frameon=False)
    figure.suptitle(printable(f"{found.trace}: {found.tiers}"), fontsize=11)
    return saved(figure, suffix)
