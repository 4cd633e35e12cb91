"""Regions that DAMON found accessed, as accesses of each of their pages."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pghot.arrays import I64, U16, U64
from pghot.recording.importers.importer import Accesses, accesses

LAST_ADDRESS = 1 << 57
NOT_TOLD_APART = (
    "pages of a region are not told apart: each counts the samples in which DAMON found the region accessed"
)
_PAGES_AT_A_TIME = 1 << 20


def page_accesses(time_ns: U64, start: U64, end: U64, samples: U64, space: U16) -> Iterator[Accesses]:
    """A region [start, end) in bytes that was accessed in n samples is n accesses of each of its pages.

    All [R], in the order of time.
    """
    pages = ((end >> np.uint64(12)) - (start >> np.uint64(12))).astype(np.int64)
    for begin, stop in _pieces(pages):
        piece = slice(begin, stop)
        number = pages[piece]
        within = np.arange(int(number.sum())) - np.repeat(np.cumsum(number) - number, number)
        yield accesses(
            np.repeat(start[piece], number) + within.astype(np.uint64) * np.uint64(4096),
            np.repeat(time_ns[piece], number),
            count=np.repeat(samples[piece], number).astype(np.uint32),
            space=np.repeat(space[piece], number),
        )


def _pieces(pages: I64) -> Iterator[tuple[int, int]]:
    """[begin, end) of parts with about so many pages each."""
    ends = np.cumsum(pages)
    begin = 0
    while begin < len(pages):
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _PAGES_AT_A_TIME)))
        yield begin, end
        begin = end
