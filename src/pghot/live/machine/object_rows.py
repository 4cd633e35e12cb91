"""Which mappings show pages of files and of shared memory: from (space, address) to (file, offset) and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pghot.arrays import I64, U64, Bool, Int
from pghot.jit import njit
from pghot.live.machine.sections import PAGE_SHIFT

_VPN_BITS = 45  # of addresses with 57 bits; the number of the space is above them


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Mappings, ascending by space and address.

    space        int64[M]   its number
    first, last  uint64[M]  address / 4096 of the first page, and of the one past the last
    number       int64[M]   of the `MappedFile`; 0: it is not tracked
    shift        int64[M]   page in the file minus page in the space
    private      bool[M]    a page that was written is no longer one of the file
    """

    space: I64
    first: U64
    last: U64
    number: I64
    shift: I64
    private: Bool

    def __len__(self) -> int:
        return len(self.space)

    @classmethod
    def none(cls) -> Rows:
        signed, unsigned = np.empty(0, np.int64), np.empty(0, np.uint64)
        return cls(signed, unsigned, unsigned, signed, signed, np.empty(0, np.bool_))

    @classmethod
    def joined(cls, of_space: Mapping[int, Rows]) -> Rows:
        """The rows of several spaces, which each have one number only."""
        parts = [of_space[number] for number in sorted(of_space)]
        if not parts:
            return cls.none()
        columns = zip(*((r.space, r.first, r.last, r.number, r.shift, r.private) for r in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    def find(self, space: I64, address: U64) -> I64:
        """int64[K]: the row of each address (bytes), -1: none."""
        row = np.full(len(space), -1, np.int64)
        if len(self) == 0:
            return row
        above = self.space.astype(np.uint64) << np.uint64(_VPN_BITS)
        find_rows(above | self.first, above | self.last, space, address, row)
        return row

    def offsets(self, row: I64, address: U64) -> U64:
        """uint64[K] bytes: where in their files these addresses are, which lie in these rows."""
        shifted: U64 = address + (self.shift[row] << PAGE_SHIFT).astype(np.uint64)
        return shifted

    def addresses(self, space: int, number: int, offset: U64) -> tuple[U64, Bool]:
        """Where a space maps these offsets (uint64[K] bytes) of a file: addresses uint64[K], and bool[K], whether at
        all."""
        address, found = np.zeros(len(offset), np.uint64), np.zeros(len(offset), np.bool_)
        begin, end = np.searchsorted(self.space, (space, space + 1))
        for i in (begin + np.flatnonzero(self.number[begin:end] == number)).tolist():
            page = (offset >> np.uint64(PAGE_SHIFT)).astype(np.int64) - self.shift[i]
            inside = ~found & (page >= np.int64(self.first[i])) & (page < np.int64(self.last[i]))
            address[inside] = page[inside].astype(np.uint64) << np.uint64(PAGE_SHIFT)
            found |= inside
        return address, found


@njit(cache=True)
def find_rows(first: U64, last: U64, space: I64, address: U64, row: I64) -> None:
    """Fill `row` with the index of the range that holds each (space, address), or -1.

    first, last  uint64[M]  ascending and disjoint: space << 45 | address / 4096

    Neighbours in a batch are often of one mapping, so the last answer is tried first.
    """
    last_row: Int = 0
    for i in range(space.shape[0]):
        vpn = address[i] >> np.uint64(PAGE_SHIFT)
        row[i] = -1
        if vpn >> np.uint64(_VPN_BITS) != 0:
            continue
        key = np.uint64(space[i]) << np.uint64(_VPN_BITS) | vpn
        if not first[last_row] <= key < last[last_row]:
            last_row = max(0, np.searchsorted(first, key, side="right") - 1)
        if first[last_row] <= key < last[last_row]:
            row[i] = last_row
