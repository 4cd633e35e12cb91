"""Ranges of addresses as two arrays, start and end (uint64[R] bytes): ascending, disjoint, each [start, end).

All cost what there are ranges, or pages asked for, in NumPy: a program may have 100,000 mappings.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pghot.arrays import I64, U64
from pghot.units import PAGE_BYTES


def bridged(start: U64, end: U64, gap: int) -> tuple[U64, U64]:
    """The ranges with the gaps between them filled that are at most `gap` bytes.

    >>> [each.tolist() for each in bridged(np.array([0, 5, 20], np.uint64), np.array([4, 8, 30], np.uint64), 1)]
    [[0, 20], [8, 30]]
    """
    if len(start) == 0:
        return start, end
    apart = start[1:] - end[:-1] > np.uint64(gap)
    return start[np.append(True, apart)], end[np.append(apart, True)]


def overlap(start: U64, end: U64, with_start: U64, with_end: U64) -> tuple[U64, U64]:
    """What is in a range of both.

    >>> a = np.array([0, 10], np.uint64), np.array([5, 20], np.uint64)
    >>> [each.tolist() for each in overlap(*a, np.array([3, 12], np.uint64), np.array([11, 13], np.uint64))]
    [[3, 10, 12], [5, 11, 13]]
    """
    first = np.searchsorted(with_end, start, side="right")
    last = np.searchsorted(with_start, end, side="left")
    mine, nth = numbered(np.maximum(last - first, 0))
    other = first[mine] + nth
    return np.maximum(start[mine], with_start[other]), np.minimum(end[mine], with_end[other])


def pages_of(start: U64, end: U64, most: int) -> Iterator[U64]:
    """The addresses of the pages of the ranges, at most so many at a time.

    >>> ranges = np.array([0, 0x9000], np.uint64), np.array([0x2000, 0xA000], np.uint64)
    >>> [part.tolist() for part in pages_of(*ranges, 2)]
    [[0, 4096], [36864]]
    """
    ends = np.cumsum((end - start) // np.uint64(PAGE_BYTES)).astype(np.int64)
    total = int(ends[-1]) if len(ends) else 0
    for begin in range(0, total, most):
        stop = min(total, begin + most)
        held = slice(np.searchsorted(ends, begin, side="right"), np.searchsorted(ends, stop, side="left") + 1)
        before = np.concatenate(([begin], ends[held][:-1]))
        pages = np.minimum(ends[held], stop) - before
        # From the first page of each part: all of a range but of the first, where some went before.
        low = end[held] - (ends[held] - before).astype(np.uint64) * np.uint64(PAGE_BYTES)
        part, nth = numbered(pages)
        yield low[part] + nth.astype(np.uint64) * np.uint64(PAGE_BYTES)


def numbered(lengths: I64) -> tuple[I64, I64]:
    """For each element of groups of these lengths (int64[G]): its group, and its number within it.

    >>> [each.tolist() for each in numbered(np.array([2, 0, 1]))]
    [[0, 0, 2], [0, 1, 0]]
    """
    group = np.repeat(np.arange(len(lengths)), lengths)
    return group, np.arange(len(group)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
