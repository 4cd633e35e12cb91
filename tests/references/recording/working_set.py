"""Slow, plain versions of the kernels of `pghot.recording.working_set`."""

from __future__ import annotations

from pghot.arrays import U32


def window_reference(page: U32, misses: U32) -> dict[int, int]:
    """The misses of each page of a window, in the order in which they were first touched."""
    found: dict[int, int] = {}
    for p, count in zip(page.tolist(), misses.tolist(), strict=True):
        found[p] = found.get(p, 0) + count
    return found


def fewest_reference(misses: list[int], percent: int) -> int:
    """The fewest pages that take at least `percent` of all misses."""
    ordered, pages, taken = sorted(misses, reverse=True), 0, 0
    while 100 * taken < percent * sum(misses):
        taken += ordered[pages]
        pages += 1
    return pages
