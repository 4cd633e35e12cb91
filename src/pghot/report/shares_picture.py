"""Curves over the fast tier's share as a picture: slowdown, bytes moved and fast misses, a line for each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pghot.lab.metrics import METRICS, Metric
from pghot.lab.outcomes import SummaryRow
from pghot.lab.share_curves import ShareCurves
from pghot.printable import printable
from pghot.report.pictures import COLOURS, DASHES, GREY, MARKS, over_shares, saved

PANELS = {
    "slowdown": "time over that with all memory fast (simulated)",
    "moved_mb": "moved, both ways, MB",
    "fast_miss_share": "share of the cache misses that fast memory serves",
}
Line = tuple[SummaryRow, ...]


def draw(found: ShareCurves, suffix: str) -> bytes:
    """A panel for each of `PANELS`, with bands of the 95 % intervals; `suffix` is one of `files.PICTURES`."""
    setup = found.comparisons[0].setup
    figure = Figure(figsize=(15, 5.4), layout="constrained")
    looks = _looks(found.lines())
    for axes, (name, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        metric = next(each for each in METRICS if each.name == name)
        _panel(axes, found, looks, metric)
        axes.set_ylabel(title)
        over_shares(axes, setup.footprint_pages * setup.page_bytes)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.suptitle(printable(f"{setup.trace}: {setup.tiers}"), fontsize=11)
    return saved(figure, suffix)


def _looks(lines: Sequence[Line]) -> list[Mapping[str, Any]]:
    """Movers have colours. What does not move, or knows the future, is grey and thin."""
    found: list[Mapping[str, Any]] = []
    movers = others = 0
    for line in lines:
        moves = line[0].kind == "mover" and not line[0].needs_foresight
        number = movers if moves else others
        found.append(
            {
                "color": COLOURS[number % len(COLOURS)] if moves else GREY,
                "linestyle": DASHES[number // len(COLOURS) % len(DASHES)]
                if moves
                else DASHES[1 + number % 3],
                "marker": MARKS[number % len(MARKS)],
                "linewidth": 1.6 if moves else 1.0,
                "markersize": 4,
                "label": line[0].label,
            }
        )
        movers, others = movers + moves, others + (not moves)
    return found


def _panel(axes: Axes, found: ShareCurves, looks: Sequence[Mapping[str, Any]], metric: Metric) -> None:
    """The lines first: wide bands shall not decide on the scale."""
    bands = []
    for line, look in zip(found.lines(), looks, strict=True):
        cells = zip(found.shares, (row.cell(metric) for row in line), strict=True)
        known = [(100 * share, value, half or 0.0) for share, (value, half) in cells if value is not None]
        if known:
            axes.plot([at for at, _, _ in known], [value for _, value, _ in known], **look)
            bands.append((known, look["color"]))
    low, high = axes.get_ylim()
    for known, colour in bands:
        at = [each for each, _, _ in known]
        least, most = ([value + side * half for _, value, half in known] for side in (-1, 1))
        axes.fill_between(at, least, most, color=colour, alpha=0.15, linewidth=0)
    axes.set_ylim(min(low, 0.0) if metric.unit == "share" else low, high)
