"""The plain ways of what importers share."""

from __future__ import annotations

from collections.abc import Sequence


def lru_misses(accesses: Sequence[tuple[int, int]], sets: int, ways: int) -> list[bool]:
    """Of (line / sets, space): whether each misses a set of that many ways. Higher lines of one set are mixed apart."""
    kept: dict[int, list[tuple[int, int]]] = {}
    missed = []
    for high, space in accesses:
        line = high * sets
        own = kept.setdefault((line ^ line >> 15) % sets, [])
        missed.append((high, space) not in own)
        if not missed[-1]:
            own.remove((high, space))
        own.insert(0, (high, space))
        del own[ways:]
    return missed


def slices_of(
    accesses: Sequence[tuple[int, int, int, int, bool, bool]], slice_ns: int
) -> list[tuple[int, int, int, int, int, int]]:
    """Of (time, page, line, count, missed, write): (start, page, touches, misses, sequential, writes) of each row."""
    rows: dict[tuple[int, int], list[int]] = {}
    last: dict[int, int] = {}
    for time, page, line, count, missed, write in accesses:
        row = rows.setdefault((time // slice_ns * slice_ns, page), [0, 0, 0, 0])
        row[0] += count
        if missed:
            row[1] += count
            row[2] += count if last.get(page) == line - 1 else 0
            last[page] = line
        row[3] += count if write else 0
    return [(start, page, *rows[start, page]) for start, page in sorted(rows)]
