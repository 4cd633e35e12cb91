"""Accesses in the order of time become slices: rows of a page with its touches, misses and writes."""

from __future__ import annotations

import numpy as np
from numba import njit

from pghot.arrays import I64, U8, U32, U64, Bool, Int
from pghot.recording.importers.importer import NS_PER_INSTRUCTION
from pghot.recording.trace import SliceBatch

_COUNTERS = ("touches", "misses", "sequential", "writes")
_MOST = np.uint32(0xFFFFFFFF)


class SliceMaker:
    """Takes accesses piece by piece, and gives the slices that are closed.

    A slice in which nothing is touched is left out, and the one before it has its instructions: no time is lost.

    touches    accesses so far
    saturated  rows whose count did not fit 32 bits
    """

    def __init__(self, slice_ns: int) -> None:
        self._slice_ns = slice_ns
        self._open = np.zeros((4, 0), np.uint32)
        self._open_page = np.zeros(0, np.uint32)
        self._slice = -1
        self._row_of = np.zeros(0, np.int64)
        self._last_line = np.zeros(0, np.uint8)
        self._end_ns = 0

    def take(
        self, time_ns: U64, page: U32, line: U8, count: U32, missed: Bool, write: Bool
    ) -> SliceBatch | None:
        """The slices that these accesses close; None when they close none.

        time_ns        uint64[N]  ascending, also from call to call
        page           uint32[N]  dense
        line           uint8[N]   line of the access in its page
        count          uint32[N]  accesses that it stands for
        missed, write  bool[N]
        """
        if not len(page):
            return None
        self._make_room(int(page.max()) + 1)
        number = (time_ns // np.uint64(self._slice_ns)).astype(np.int64)
        kept = len(self._open_page)
        rows = np.zeros((4, kept + len(page)), np.uint32)
        row_page = np.empty(kept + len(page), np.uint32)
        row_slice = np.empty(kept + len(page), np.int64)
        rows[:, :kept], row_page[:kept], row_slice[:kept] = self._open, self._open_page, self._slice
        self._row_of[self._open_page] = np.arange(kept)
        used = int(
            count_rows(
                number, page, line, count, missed, write, kept, rows, row_page, row_slice, self._row_of,
                self._last_line,
            )
        )  # fmt: skip
        self._end_ns = int(time_ns[-1])
        closed = int(np.searchsorted(row_slice[:used], number[-1]))
        self._slice = int(number[-1])
        if not closed:
            self._open, self._open_page = rows[:, :used], row_page[:used]
            return None
        self._open, self._open_page = rows[:, closed:used].copy(), row_page[closed:used].copy()
        return self._batch(rows[:, :closed], row_page[:closed], row_slice[:closed], self._slice)

    def rest(self) -> SliceBatch | None:
        """The slice that is still open; None when there is none."""
        if not len(self._open_page):
            return None
        number = np.full(len(self._open_page), self._slice, np.int64)
        return self._batch(self._open, self._open_page, number, None)

    def _make_room(self, pages: int) -> None:
        have = len(self._row_of)
        if pages > have:
            more = max(pages - have, have // 2)
            self._row_of = np.concatenate([self._row_of, np.full(more, -1, np.int64)])
            self._last_line = np.concatenate([self._last_line, np.full(more, 255, np.uint8)])

    def _batch(self, rows: U32, page: U32, number: I64, then: int | None) -> SliceBatch:
        """The rows of whole slices as a batch; `then` is the slice that comes next."""
        # One key for both: NumPy sorts whole numbers several times faster than pairs.
        begins = np.diff(number, prepend=number[0] - 1) != 0
        order = np.argsort((np.cumsum(begins).astype(np.uint64) << np.uint64(32)) | page)
        rows, page = np.ascontiguousarray(rows[:, order]), page[order]
        starts = np.flatnonzero(begins)
        start_ns = number[starts] * self._slice_ns
        end_ns = self._end_ns + 1 if then is None else then * self._slice_ns
        lasts_ns = np.diff(start_ns, append=max(end_ns, int(start_ns[-1]) + 1))
        touches, misses, sequential, writes = rows
        return SliceBatch(
            start_ns=start_ns.astype(np.uint64),
            instructions=(lasts_ns / NS_PER_INSTRUCTION).astype(np.uint64),
            offsets=np.append(starts, len(page)).astype(np.int64),
            page=page,
            touches=touches,
            misses=misses,
            sequential=sequential,
            writes=writes,
            node=np.zeros(len(page), np.int16),
        )


@njit(cache=True)
def count_rows(
    number: I64,
    page: U32,
    line: U8,
    count: U32,
    missed: Bool,
    write: Bool,
    used: Int,
    rows: U32,
    row_page: U32,
    row_slice: I64,
    row_of: I64,
    last_line: U8,
) -> Int:
    """Count accesses into the rows of their slices; returns how many rows are used.

    number     int64[N]      slice of each access, ascending
    rows       uint32[4, R]  touches, misses, sequential misses and writes; they stop at 2^32 - 1
    row_page   uint32[R]     page of each row
    row_slice  int64[R]      slice of each row
    row_of     int64[pages]  the row that a page had last, -1: none
    last_line  uint8[pages]  line of the page's last miss, 255: none
    """
    for i in range(len(page)):
        p = page[i]
        row = row_of[p]
        if row < 0 or row >= used or row_page[row] != p or row_slice[row] != number[i]:
            row = used
            used += 1
            row_of[p], row_page[row], row_slice[row] = row, p, number[i]
        n = np.uint64(count[i])
        rows[0, row] = min(np.uint64(_MOST), np.uint64(rows[0, row]) + n)
        if missed[i]:
            rows[1, row] = min(np.uint64(_MOST), np.uint64(rows[1, row]) + n)
            if last_line[p] != 255 and line[i] == last_line[p] + 1:
                rows[2, row] = min(np.uint64(_MOST), np.uint64(rows[2, row]) + n)
            last_line[p] = line[i]
        if write[i]:
            rows[3, row] = min(np.uint64(_MOST), np.uint64(rows[3, row]) + n)
    return used
