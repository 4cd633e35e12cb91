"""Cost of the memory against slowdown as a picture: a line for each run on each tiers, and the front of today."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pghot.lab.sizes import ALL_FAST, Point, Sizes, front
from pghot.printable import printable
from pghot.report.pictures import COLOURS, DASHES, GREY, MARKS, saved
from pghot.units import format_number, format_size

FRONT = "cheapest of today for its slowdown"


def draw(found: Sequence[Sizes], suffix: str) -> bytes:
    """Runs have colours, tiers have dashes and marks; what knows the future is grey. Bars are 95 % intervals over the
    seeds. `suffix` is one of `files.PICTURES`; all tiers have prices.
    """
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    movers = dict.fromkeys(size.label for each in found for size in each.sizes if size.runs_on != "nowhere")
    colours = {label: COLOURS[place % len(COLOURS)] for place, label in enumerate(movers)}
    for place, each in enumerate(found):
        for size in each.sizes:
            _line(axes, each, size.label, colours.get(size.label, GREY), place)
    kept = _known([point for _, point in front(found)])
    axes.plot(
        [cost for cost, _, _ in kept], [slowdown for _, slowdown, _ in kept], drawstyle="steps-post",
        color="#000000", linewidth=0.8, marker="o", markersize=9, markerfacecolor="none", label=FRONT, gid="front",
    )  # fmt: skip
    limit = found[0].slowdown
    axes.axhline(limit, color="#d55e00", linewidth=0.8)
    axes.annotate(f"{format_number(100 * (limit - 1), 3)} % slower", (1, limit), xycoords=("axes "
    "fraction", "data"), ha="right",
                  va="bottom", fontsize=8, color="#d55e00")  # fmt: skip
    setup, currency = found[0].setup, next(each.price.currency for each in found if each.price)
    held = format_size(setup.footprint_pages * setup.page_bytes)
    axes.set_xlabel(printable(f"memory for {held}, {currency}"))
    axes.set_ylabel("time over the shortest with fast memory alone (simulated)")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.suptitle(printable(setup.trace), fontsize=11)
    return saved(figure, suffix)


def _line(axes: Axes, found: Sizes, label: str, colour: str, place: int) -> None:
    """A run over its sizes, up to fast memory alone."""
    points = _known([point for point in found.points if point.label in (label, ALL_FAST)])
    axes.errorbar(
        [cost for cost, _, _ in points],
        [slowdown for _, slowdown, _ in points],
        yerr=[half for _, _, half in points],
        color=colour,
        linestyle=DASHES[place % len(DASHES)],
        marker=MARKS[place % len(MARKS)],
        markersize=4,
        linewidth=1.2,
        elinewidth=0.7,
        label=printable(f"{label} on {found.tiers}"),
    )


def _known(points: Sequence[Point]) -> list[tuple[float, float, float]]:
    """Cost, slowdown and half-width of each that has both."""
    return [
        (point.cost, point.slowdown, point.ci95 or 0.0)
        for point in points
        if point.cost is not None and point.slowdown is not None
    ]
