"""Dense numbers for pages of any address, in the order in which their memory is first touched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from pghot.arrays import I32, U32, U64, Int
from pghot.errors import PghotError
from pghot.recording import format as fmt
from pghot.recording.trace import Region

EXTENT_BITS = 9  # memory is numbered in aligned pieces of 2 MiB, so that huge pages stay whole
SPACE_SHIFT = np.uint64(52)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio (Knuth, volume 3, section 6.4)


class PageNumbers:
    """A hash table from extents of 2^bits pages to their first dense page. It grows with what is touched.

    pages  dense pages so far
    """

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._used = 0
        self._make(1 << 12)

    @property
    def pages(self) -> int:
        return self._used << self._bits

    def number(self, page: U64) -> tuple[U32, U64]:
        """The dense page of each, and the extents that are new, in the order of their numbers.

        page  uint64[N]  page number below 2^52, the address space above it

        Raises `PghotError` when there are more pages than a recording may have.
        """
        dense = np.empty(len(page), np.uint32)
        fresh = np.empty(len(page), np.uint64)
        done = found = 0
        while True:
            more, done = find_extents(
                page, self._bits, self._keys, self._values, self._used, dense, fresh[found:], done
            )
            found += more
            self._used += more
            if self.pages > fmt.MAX_PAGES:
                raise PghotError(
                    f"more than {fmt.MAX_PAGES:,} pages were accessed", "import a part of the file"
                )
            if done == len(page):
                return dense, fresh[:found]
            self._grow()

    def _make(self, slots: int) -> None:
        self._keys = np.zeros(slots, np.uint64)
        self._values = np.full(slots, -1, np.int32)

    def _grow(self) -> None:
        keys, values = self._keys[self._values >= 0], self._values[self._values >= 0]
        self._make(2 * len(self._values))
        put_back(keys, values, self._keys, self._values)


def regions_of(extents: U64, first_extent: int, bits: int) -> Sequence[Region]:
    """The regions of new extents, numbered from `first_extent` on; neighbours in number and address are one."""
    if not len(extents):
        return []
    cuts = np.flatnonzero(np.diff(extents) != 1) + 1
    starts = np.concatenate([[0], cuts])
    sizes = np.diff(starts, append=len(extents))
    regions = []
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        page = int(extents[start]) << bits
        address = (page & ((1 << 52) - 1)) << 12
        regions.append(
            Region((first_extent + start) << bits, size << bits, page >> 52, address, "[imported]")
        )
    return regions


@njit(cache=True)
def slot_of(key: Int, slots: Int) -> Int:
    """Where to look for a key first."""
    mixed = np.uint64(key) * _GOLDEN
    return np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(slots - 1))


@njit(cache=True)
def find_extents(
    page: U64, bits: Int, keys: U64, values: I32, used: Int, dense: U32, fresh: U64, start: Int
) -> tuple[Int, Int]:
    """Number the pages from `start` on, until the table is half full; returns how many extents are new, and how far
    it came.

    keys, values  [slots]  a power of two; value -1 is free
    dense         uint32[N]  filled in
    fresh         uint64[N]  filled in: the new extents
    """
    found, slots = 0, len(values)
    low = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    last_key, last_base = np.uint64(0), np.int64(-1)
    for i in range(start, len(page)):
        key = page[i] >> np.uint64(bits)
        if last_base < 0 or key != last_key:
            at = slot_of(key, slots)
            while values[at] >= 0 and keys[at] != key:
                at = (at + 1) & (slots - 1)
            if values[at] < 0:
                if (used + found) * 2 >= slots:
                    return found, i
                keys[at], values[at] = key, used + found
                fresh[found] = key
                found += 1
            last_key, last_base = key, np.int64(values[at]) << bits
        dense[i] = np.uint32(last_base + np.int64(page[i] & low))
    return found, len(page)


@njit(cache=True)
def put_back(old_keys: U64, old_values: I32, keys: U64, values: I32) -> None:
    """Put entries into an empty table."""
    slots = len(values)
    for i in range(len(old_keys)):
        at = slot_of(old_keys[i], slots)
        while values[at] >= 0:
            at = (at + 1) & (slots - 1)
        keys[at], values[at] = old_keys[i], old_values[i]
