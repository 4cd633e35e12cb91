"""Rows of chosen pages with weighed counts, in plain Python: exact fractions, one dict for what is carried on."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor

Row = tuple[
    int, int, int, int, int, int, int
]  # page, then touches, misses, sequential, strided, dependent, writes


def weigh_rows_reference(
    rows: Sequence[Row], place: dict[int, int], weight: Sequence[float], begin: Sequence[Sequence[float]]
) -> list[tuple[int, ...]]:
    """The rows that stay, with the page's place: each kind of access is weighed by itself, then added up.

    begin  fractions of each kind (sequential, strided, dependent, other misses, hits, stores) of each page
    """
    carried = {(kind, at): Fraction(begin[kind][at]) for kind in range(6) for at in range(len(weight))}

    def weighed(kind: int, at: int, count: int, most: int) -> int:
        exact = count * Fraction(weight[at]) + carried[kind, at]
        whole = min(floor(exact), most)
        carried[kind, at] = exact - whole
        return whole

    found = []
    for page, touches, misses, sequential, strided, dependent, writes in rows:
        if page not in place:
            continue
        at = place[page]
        kinds = (sequential, strided, dependent, misses - sequential - strided - dependent, touches - misses)
        parts = [weighed(kind, at, count, 2**32) for kind, count in enumerate(kinds)]
        written = weighed(5, at, writes, sum(parts))
        if sum(parts):
            found.append((at, sum(parts), sum(parts[:4]), *parts[:3], written))
    return found
