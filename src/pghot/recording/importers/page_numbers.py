"""Dense numbers for pages of any address, in the order in which their memory is first touched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pghot.arrays import U16, U32, U64, Int
from pghot.errors import PghotError
from pghot.jit import inlined_kernel, kernel
from pghot.recording import format as fmt
from pghot.recording.trace import Region

EXTENT_BITS = 9  # memory is numbered in aligned pieces of 2 MiB, so that huge pages stay whole
PAGE_SHIFT = 12
SPACE_SHIFT = np.uint64(52)
FIRST_SPACE = np.zeros(1, np.uint16)  # of all
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio (Knuth, volume 3, section 6.4)


class PageNumbers:
    """A hash table from extents of 2^bits pages to their first dense page. It grows with what is touched.

    pages  dense pages so far
    """

    def __init__(self, bits: int, address_bits: int = 0) -> None:
        """address_bits  those of an address below its page number; 0: page numbers, or whatever else, are given"""
        self._bits, self._address_bits = bits, address_bits
        self._used = 0
        self._make(1 << 12)

    @property
    def pages(self) -> int:
        return self._used << self._bits

    def number(self, address: U64, space: U16 = FIRST_SPACE) -> tuple[U32, U64]:
        """The dense page of each, and the extents that are new, in the order of their numbers.

        address  uint64[N]
        space    uint16[N or 1]  stands above a page number of 52 bits

        Raises `PghotError` when there are more pages than a recording may have.
        """
        dense = np.empty(len(address), np.uint32)
        fresh = np.empty(len(address), np.uint64)
        done = found = 0
        while True:
            more, done = find_extents(
                address, space, self._address_bits, self._bits, self._table, self._used, dense, fresh[found:], done
            )  # fmt: skip
            found += more
            self._used += more
            if self.pages > fmt.MAX_PAGES:
                raise PghotError(
                    f"more than {fmt.MAX_PAGES:,} pages were accessed", "import a part of the file"
                )
            if done == len(address):
                return dense, fresh[:found]
            self._grow()

    def _make(self, slots: int) -> None:
        self._table = np.zeros((slots, 2), np.uint64)

    def _grow(self) -> None:
        old = self._table
        self._make(2 * len(old))
        put_back(old, self._table)


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


@inlined_kernel
def slot_of(key: Int, slots: Int) -> Int:
    """Where to look for a key first."""
    mixed = np.uint64(key) * _GOLDEN
    return np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(slots - 1))


@kernel
def find_extents(
    address: U64, space: U16, address_bits: Int, bits: Int, table: U64, used: Int, dense: U32, fresh: U64,
    start: Int,
) -> tuple[Int, Int]:  # fmt: skip
    """Number the pages from `start` on, until the table is half full; returns how many extents are new, and how far
    it came.

    table  uint64[slots, 2]  an extent and its number + 1, 0: free; a power of two. Side by side: one line of a cache
    dense  uint32[N]         filled in
    fresh  uint64[N]         filled in: the new extents
    """
    found, slots = 0, len(table)
    low = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    last_key, last_base = np.uint64(0), np.int64(-1)
    last_space = len(space) - 1
    for i in range(start, len(address)):
        page = address[i] >> np.uint64(address_bits) | np.uint64(space[min(i, last_space)]) << SPACE_SHIFT
        key = page >> np.uint64(bits)
        if last_base < 0 or key != last_key:
            at = slot_of(key, slots)
            while table[at, 1] and table[at, 0] != key:
                at = (at + 1) & (slots - 1)
            if not table[at, 1]:
                if (used + found) * 2 >= slots:
                    return found, i
                fresh[found] = key
                found += 1
                table[at, 0], table[at, 1] = key, np.uint64(used + found)
            last_key, last_base = key, (np.int64(table[at, 1]) - 1) << bits
        dense[i] = np.uint32(last_base + np.int64(page & low))
    return found, len(address)


@kernel
def put_back(old: U64, table: U64) -> None:
    """Put the entries of a table into an empty one."""
    slots = len(table)
    for i in range(len(old)):
        if old[i, 1]:
            at = slot_of(old[i, 0], slots)
            while table[at, 1]:
                at = (at + 1) & (slots - 1)
            table[at, 0], table[at, 1] = old[i, 0], old[i, 1]
