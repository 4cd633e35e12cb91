"""The counting that all importers share: one pass over accesses, one word to look up for each.

The word of a page says where its last row is and which line missed last. Rows are numbered from the first of the
recording on, so a word of an earlier slice is known by its number alone and nothing has to be cleared or compared.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from pghot.arrays import I64, U8, U32, U64, Bool, Int

LINE_BITS: Final = 8
NO_LINE: Final = (1 << LINE_BITS) - 1
_MOST = np.uint64(0xFFFFFFFF)


@njit(cache=True)
def count_rows(
    time_ns: U64,
    slice_ns: Int,
    page: U32,
    line: U8,
    count: U32,
    missed: Bool,
    write: Bool,
    before: Int,
    used: Int,
    rows: U32,
    row_page: U32,
    last_of: U64,
    number: I64,
    start: I64,
) -> tuple[Int, Int]:
    """Count accesses into the rows of their slices; returns the index of the slice that is open at the end, and how
    many rows are used.

    time_ns   uint64[N]      ascending
    before    rows of the recording before those in `rows`
    used      rows in use, all of the slice that is open
    rows      uint32[R, 4]   touches, misses, sequential misses and writes; they stop at 2^32 - 1
    row_page  uint32[R]      page of each row
    last_of   uint64[pages]  (number of the page's last row + 1) << 8 | line of its last miss, 255: none
    number    int64[N + 1]   the first is the slice that is open, -1: none; those that begin are filled in
    start     int64[N + 1]   the first row of each
    """
    at = 0
    end_ns = np.uint64((number[0] + 1) * slice_ns)
    first = before  # of the slice's rows, in the numbers of `last_of`
    for i in range(len(page)):
        if time_ns[i] >= end_ns:
            at += 1
            number[at], start[at] = np.int64(time_ns[i] // np.uint64(slice_ns)), used
            end_ns = np.uint64((number[at] + 1) * slice_ns)
            first = before + used
        p = page[i]
        word = last_of[p]
        last_line = word & np.uint64(255)
        row = np.int64(word >> np.uint64(8)) - 1
        if row < first:
            row = used
            used += 1
            row_page[row] = p
            rows[row, 0] = rows[row, 1] = rows[row, 2] = rows[row, 3] = 0
            word = np.uint64(before + used) << np.uint64(8) | last_line
            last_of[p] = word
        else:
            row -= before
        n = np.uint64(count[i])
        rows[row, 0] = min(_MOST, np.uint64(rows[row, 0]) + n)
        if missed[i]:
            rows[row, 1] = min(_MOST, np.uint64(rows[row, 1]) + n)
            if last_line != 255 and np.uint64(line[i]) == last_line + np.uint64(1):
                rows[row, 2] = min(_MOST, np.uint64(rows[row, 2]) + n)
            last_of[p] = (word ^ last_line) | np.uint64(line[i])
        if write[i]:
            rows[row, 3] = min(_MOST, np.uint64(rows[row, 3]) + n)
    return at, used
