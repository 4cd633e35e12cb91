"""Accesses become slices: rows of a page with its touches, misses and writes."""

from __future__ import annotations

import numpy as np

from pghot.arrays import I64, U32, U64, Bool
from pghot.recording.importers.count_rows import FIRST, LATEST, N_LATE, NO_LINE, count_rows
from pghot.recording.importers.importer import LATEST_NS, NS_PER_INSTRUCTION, times_too_far
from pghot.recording.importers.row_order import columns_in_order
from pghot.recording.trace import SliceBatch


class SliceMaker:
    """Takes accesses piece by piece, and gives the slices that are closed.

    A slice in which nothing is touched is left out, and the one before it has its instructions: no time is lost.
    """

    def __init__(self, slice_ns: int) -> None:
        self._slice_ns = slice_ns
        self._rows = np.empty((0, 4), np.uint32)  # those of the slice that is open come first
        self._row_page = np.empty(0, np.uint32)
        self._used = 0
        self._slice = -1
        self._before = 0  # rows of the slices that were given
        self._last_of = np.empty(0, np.uint64)
        self._clock: U64 | None = None  # see `count_rows`

    @property
    def late(self) -> int:
        """Accesses that had earlier times than ones before them, and count at the later time."""
        return 0 if self._clock is None else int(self._clock[N_LATE])

    def take(
        self, time_ns: U64, page: U32, address: U64, count: U32, missed: Bool, write: Bool
    ) -> SliceBatch | None:
        """The slices that these accesses close; None when they close none. Time begins at the first access of all.

        time_ns, address  uint64[N]
        page              uint32[N]       dense
        count             uint32[N or 1]  accesses that it stands for
        missed, write     bool[N or 1]

        Raises `PghotError` for times that no recording can have.
        """
        if not len(page):
            return None
        if self._clock is None:
            self._clock = np.array([time_ns[0], time_ns[0], 0], np.uint64)
        self._make_room(int(page.max()) + 1, self._used + len(page) + 1)
        number = np.empty(len(page) + 1, np.int64)
        start = np.empty(len(page) + 1, np.int64)
        number[0], start[0] = self._slice, 0
        slices, used = count_rows(
            time_ns, self._slice_ns, page, address, count, missed, write, self._before, self._used, self._clock,
            self._rows, self._row_page, self._last_of, number, start,
        )  # fmt: skip
        if self._latest_ns() > LATEST_NS:
            raise times_too_far()
        self._slice = int(number[slices])
        first = 1 if number[0] < 0 else 0  # before the first access no slice is open
        closed = int(start[slices])
        self._used = used - closed
        if not closed:
            return None
        done = self._batch(number[first:slices], start[first : slices + 1], self._slice)
        self._rows[: self._used] = self._rows[closed:used].copy()
        self._row_page[: self._used] = self._row_page[closed:used].copy()
        self._before += closed
        return done

    def rest(self) -> SliceBatch | None:
        """The slice that is still open; None when there is none."""
        if not self._used:
            return None
        return self._batch(np.array([self._slice]), np.array([0, self._used]), None)

    def _latest_ns(self) -> int:
        return 0 if self._clock is None else int(self._clock[LATEST] - self._clock[FIRST])

    def _make_room(self, pages: int, rows: int) -> None:
        have = len(self._last_of)
        if pages > have:
            more = max(pages - have, have // 2)
            self._last_of = np.concatenate([self._last_of, np.full(more, NO_LINE, np.uint64)])
        have = len(self._row_page)
        if rows > have:
            more = max(rows - have, have // 2)
            self._rows = np.concatenate([self._rows, np.empty((more, 4), np.uint32)])
            self._row_page = np.concatenate([self._row_page, np.empty(more, np.uint32)])

    def _batch(self, number: I64, offsets: I64, then: int | None) -> SliceBatch:
        """The rows of whole slices as a batch; `then` is the slice that comes next."""
        page, columns = columns_in_order(self._row_page, self._rows, offsets)
        start_ns = number * self._slice_ns
        end_ns = self._latest_ns() + 1 if then is None else then * self._slice_ns
        lasts_ns = np.diff(start_ns, append=max(end_ns, int(start_ns[-1]) + 1))
        touches, misses, sequential, writes = columns
        return SliceBatch(
            start_ns=start_ns.astype(np.uint64),
            instructions=(lasts_ns / NS_PER_INSTRUCTION).astype(np.uint64),
            offsets=offsets,
            page=page,
            touches=touches,
            misses=misses,
            sequential=sequential,
            writes=writes,
            node=np.zeros(len(page), np.int16),
        )
