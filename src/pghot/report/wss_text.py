"""The working set over time in the terminal: percentiles, and a picture of each curve."""

from __future__ import annotations

import textwrap

import numpy as np

from pghot.arrays import I64
from pghot.printable import printable
from pghot.recording.working_set import PERCENTS, WorkingSet
from pghot.report.terminal import axis, bars, fitted
from pghot.units import counted, format_duration, format_short_size

HEIGHT = 4
_SCALE = 10  # columns of the vertical axis
_QUANTILES = {"least": 0.0, "25 %": 0.25, "half": 0.5, "75 %": 0.75, "most": 1.0}


def render(found: WorkingSet, width: int) -> list[str]:
    """What `pghot report wss` prints, at most `width` columns wide."""
    if not found.touched.any():
        return ["no working set: nothing was touched"]
    window = format_duration(found.time.bin_ns)
    head = (
        f"working set of {printable(found.name)} in windows of {window}: how much memory each window "
        "touches, and the "
        "least memory that takes 50, 90 and 99 % of its misses"
    )
    lines = [
        *textwrap.wrap(head, width),
        "",
        " " * 20 + "".join(f"{name:>11}" for name in _QUANTILES),
    ]
    curves = _curves(found)
    for title, pages in curves.items():
        values = np.quantile(pages[found.recorded], list(_QUANTILES.values()), method="inverted_cdf")
        sizes = (format_short_size(value * found.page_bytes) for value in values.tolist())
        lines.append(f"{title:20}" + "".join(f"{size:>11}" for size in sizes))
    for title, pages in curves.items():
        lines += ["", title, *_picture(pages * found.page_bytes, width - _SCALE)]
    shown = len(fitted(found.touched, width - _SCALE))
    lines.append(" " * _SCALE + axis(["0 s", format_duration(found.time.bins * found.time.bin_ns)], shown))
    if not found.misses.any():
        lines.append("no cache misses were recorded: what takes most of them cannot be said")
    if not found.recorded.all():
        lines.append(
            f"in {int((~found.recorded).sum())} of {counted(found.time.bins, 'window')} nobody looked; "
            "they are empty here"
        )
    return lines


def _curves(found: WorkingSet) -> dict[str, I64]:
    taking = {f"{percent} % of misses": pages for percent, pages in zip(PERCENTS, found.taking, strict=True)}
    return {"touched": found.touched, **(taking if found.misses.any() else {})}


def _picture(size_bytes: I64, width: int) -> list[str]:
    shown = fitted(size_bytes, width)
    heads = [format_short_size(float(shown.max())), *[""] * (HEIGHT - 2), "0 B"]
    return [
        f"{head:>{_SCALE - 1}} {line.rstrip()}" for head, line in zip(heads, bars(shown, HEIGHT), strict=True)
    ]
