"""The counting that all importers share: one pass over accesses, one word to look up for each.

The word of a page says where its last row is and which line missed last. Rows are numbered from the first of the
recording on, so a word of an earlier slice is known by its number alone and nothing has to be cleared or compared.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pghot.arrays import I64, U32, U64, Bool, Int
from pghot.jit import inlined_kernel, kernel

LINE_BITS: Final = 8
NO_LINE: Final = (1 << LINE_BITS) - 1
_MOST = np.uint64(0xFFFFFFFF)
_WORDS_AT_HAND = 1 << 17  # 1 MiB: what a core's own cache holds
_AHEAD = 64  # pages whose words are loaded together


# The clock: uint64[3], the first time of all, the latest one, and how many came with an earlier one.
FIRST, LATEST, N_LATE = range(3)


@inlined_kernel
def fetch_lines(last_of: U64, page: U32, begin: Int, end: Int) -> Int:
    """Load the words of the pages [begin, end), all at once: one by one, each is waited for.

    Returns 0, which the compiler cannot know, so that it does not leave the loads out.
    """
    together = np.uint64(0)
    for i in range(begin, end):
        together |= last_of[page[i]]
    return np.int64(together >> np.uint64(63))


@kernel
def count_rows(
    time_ns: U64,
    slice_ns: Int,
    page: U32,
    address: U64,
    count: U32,
    missed: Bool,
    write: Bool,
    before: Int,
    used: Int,
    clock: U64,
    rows: U32,
    row_page: U32,
    last_of: U64,
    number: I64,
    start: I64,
) -> tuple[Int, Int]:
    """Count accesses into the rows of their slices; returns the index of the slice that is open at the end, and how
    many rows are used.

    An access with an earlier time than one before it counts at the later time. New rows are not told from old ones by
    a jump: it is as good as random, and costs more than all the rest.

    time_ns, address      uint64[N]
    count, missed, write  [N or 1]
    before    rows of the recording before those in `rows`
    used      rows in use, all of the slice that is open
    clock     uint64[3]      see above
    rows      uint32[R, 4]   touches, misses, sequential misses and writes; they stop at 2^32 - 1. One more than is used
    row_page  uint32[R]      page of each row
    last_of   uint64[pages]  (number of the page's last row + 1) << 8 | line of its last miss, 255: none
    number    int64[N + 1]   the first is the slice that is open, -1: none; those that begin are filled in
    start     int64[N + 1]   the first row of each
    """
    at = 0
    end_ns = np.uint64((number[0] + 1) * slice_ns)
    begin = before  # of the slice's rows, in the numbers of `last_of`
    last_count, last_missed, last_write = len(count) - 1, len(missed) - 1, len(write) - 1
    first_ns, latest_ns, late = clock[FIRST], clock[LATEST], 0
    for i in range(len(page)):
        if not i % _AHEAD and len(last_of) > _WORDS_AT_HAND:
            late += fetch_lines(last_of, page, i, min(i + _AHEAD, len(page)))
        late += time_ns[i] < latest_ns
        latest_ns = max(latest_ns, time_ns[i])
        since_ns = latest_ns - first_ns
        if since_ns >= end_ns:
            at += 1
            number[at], start[at] = np.int64(since_ns // np.uint64(slice_ns)), used
            end_ns = np.uint64((number[at] + 1) * slice_ns)
            begin = before + used
        p = page[i]
        last_row, last_line = (
            np.int64(last_of[p] >> np.uint64(LINE_BITS)) - 1,
            last_of[p] & np.uint64(NO_LINE),
        )
        is_new = last_row < begin
        row = used if is_new else last_row - before
        used += is_new
        row_page[row] = p
        kept = np.uint64(0) if is_new else _MOST
        n = np.uint64(count[min(i, last_count)])
        line = address[i] >> np.uint64(6) & np.uint64(63)
        misses = n if missed[min(i, last_missed)] else np.uint64(0)
        sequential = misses if line == last_line + np.uint64(1) else np.uint64(0)
        writes = n if write[min(i, last_write)] else np.uint64(0)
        rows[row, 0] = min(_MOST, (np.uint64(rows[row, 0]) & kept) + n)
        rows[row, 1] = min(_MOST, (np.uint64(rows[row, 1]) & kept) + misses)
        rows[row, 2] = min(_MOST, (np.uint64(rows[row, 2]) & kept) + sequential)
        rows[row, 3] = min(_MOST, (np.uint64(rows[row, 3]) & kept) + writes)
        line = line if missed[min(i, last_missed)] else last_line
        last_of[p] = np.uint64(before + row + 1) << np.uint64(LINE_BITS) | line
    clock[LATEST], clock[N_LATE] = latest_ns, clock[N_LATE] + np.uint64(late)
    return at, used
