"""Pictures made of characters: bars of eighths of a block, shades, and the colours of a heat map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pghot.arrays import F64

_EIGHTHS = " ▁▂▃▄▅▆▇█"
SHADES = "░▒▓█"


def bars(values: npt.ArrayLike, height: int = 1, most: float | None = None) -> list[str]:
    """A bar for each value, from the top line down; what is not 0 is seen.

    most  the value of the full height; the largest by default

    >>> bars([0, 1, 4, 8])
    [' ▁▄█']
    >>> bars([1, 3, 4], height=2)
    [' ▄█', '▄██']
    """
    given = np.asarray(values, np.float64)
    top = most if most is not None else float(given.max(initial=0))
    if top <= 0:
        return [" " * len(given)] * height
    eighths = np.minimum(np.ceil(given / top * 8 * height), 8 * height).astype(np.int64)
    return [
        "".join(_EIGHTHS[each] for each in np.clip(eighths - 8 * line, 0, 8).tolist())
        for line in reversed(range(height))
    ]


def fitted(values: npt.ArrayLike, width: int) -> F64:
    """At most `width` values: the largest of each of nearly equal parts.

    >>> fitted([1, 5, 2, 3, 9], 3).tolist()
    [1.0, 5.0, 9.0]
    """
    given = np.asarray(values, np.float64)
    width = min(width, len(given))
    return np.maximum.reduceat(given, np.arange(width) * len(given) // width) if width else given


def axis(ends: Sequence[str], width: int) -> str:
    """Texts spread evenly over a line of `width` characters, the first at its left, the last at its right.

    Where there is no room for all there are the first and the last, or the first alone.

    >>> axis(["0 s", "1 s", "2 s"], 15), axis(["0 s", "1 s", "2 s"], 9)
    ('0 s   1 s   2 s', '0 s   2 s')
    """
    if sum(map(len, ends)) + 2 * len(ends) > width and len(ends) > 1:
        return axis([ends[0], ends[-1]] if len(ends) > 2 else ends[:1], width)
    line = [" "] * width
    for place, text in enumerate(ends):
        at = round(place * (width - len(text)) / max(1, len(ends) - 1))
        line[at : at + len(text)] = text
    return "".join(line)[:width].rstrip()
