"""Misses, writes and threads over time in the terminal: a line for each region and each thread."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pghot.printable import elided, printable
from pghot.recording.activity import Activity
from pghot.report.heat_levels import short
from pghot.report.terminal import axis, bars, fitted
from pghot.units import format_duration

SHOWN = 8  # regions, and threads
_NAME = 22
_RATE = 9


def bins_for(width: int) -> int:
    """How many columns of time fit beside the names."""
    return max(10, width - _NAME - _RATE - 2)


def render(found: Activity) -> list[str]:
    """What `pghot report timeline` prints."""
    if not found.regions:
        return ["no timeline: nothing was touched"]
    _, misses, writes = found.by_region
    titles = (("misses", misses), ("writes", writes))
    lines = [
        f"{printable(found.name)}: each line goes from 0 to its own most; "
        f"a column is {format_duration(found.time.bin_ns)}"
    ]
    for title, counts in titles:
        lines += ["", f"{title} by region".ljust(_NAME) + f" {'most /s':>{_RATE}}"]
        lines += _lines(found, found.regions, counts) if counts.any() else [f"  no {title} were recorded"]
    lines += ["", "threads by region".ljust(_NAME) + f" {'most':>{_RATE}}"]
    if len(found.threads) > 1:
        lines += _lines(found, found.regions, found.threads_at_work, rate=False)
        lines += ["", "misses by thread".ljust(_NAME) + f" {'most /s':>{_RATE}}"]
        lines += _lines(found, found.threads, found.by_thread[1])
    else:
        lines.append("  one thread did everything" if found.threads else "  threads were not told apart")
    width = len(fitted(found.recorded, found.time.bins))
    lines.append(
        " " * (_NAME + _RATE + 2) + axis(["0 s", format_duration(found.time.bins * found.time.bin_ns)], width)
    )
    if not found.recorded.all():
        lines.append(
            f"in {int((~found.recorded).sum())} of {found.time.bins} columns nobody looked; they are empty here"
        )
    return lines


def _lines(
    found: Activity, names: tuple[str, ...], counts: npt.NDArray[np.number], rate: bool = True
) -> list[str]:
    """A line for each of those with the highest totals."""
    seconds = found.time.bin_ns / 1e9 if rate else 1.0
    order = np.argsort(-counts.sum(axis=1).astype(np.float64), kind="stable")
    lines = []
    for number in order[:SHOWN].tolist():
        most = float(counts[number].max())
        if most:
            name = elided(printable(names[number]), _NAME)
            lines.append(
                f"{name:{_NAME}} {short(most / seconds):>{_RATE}} {bars(counts[number])[0].rstrip()}"
            )
    left = int((counts[order[SHOWN:]].sum(axis=1) > 0).sum())
    return [*lines, f"  and {left} more"] if left else lines
