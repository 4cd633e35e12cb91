"""A heat map of a recording: address x time, from one reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from pghot.arrays import I64, U32, Bool
from pghot.jit import njit
from pghot.recording.address_rows import Counts, FineRows, Row
from pghot.recording.reader import Recording
from pghot.recording.run_batch import RunBatch, stretch_ends
from pghot.recording.spans import spans_of
from pghot.recording.time_bins import TimeBins
from pghot.recording.totals import PageTotals

Measure: TypeAlias = Literal["misses", "touches", "writes"]
MEASURES: tuple[Measure, ...] = ("misses", "touches", "writes")


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Cell (r, b) is what the pages of row r had in time bin b; all cells together are the recording's total.

    cells     uint64[rows, bins]
    recorded  bool[bins]          whether a slice begins in the bin; where not, nobody looked
    """

    name: str
    measure: Measure
    page_bytes: int
    time: TimeBins
    rows: tuple[Row, ...]
    cells: Counts
    recorded: Bool


def measure_of(recording: Recording) -> Measure:
    """What its heat is: cache misses, or touches where no misses were recorded."""
    return "misses" if recording.total_misses else "touches"


class Heat:
    """Counts a heat map while a recording is read."""

    def __init__(self, recording: Recording, measure: Measure, time: TimeBins) -> None:
        self._recording, self._measure, self._time = recording, measure, time
        self._fine = FineRows(spans_of(recording.regions, recording.pages), recording.pages)
        self._ends = stretch_ends(self._fine.of_page)
        self._cells = np.zeros((time.bins, self._fine.rows), np.uint64)
        self._recorded = np.zeros(time.bins, np.bool_)

    def add(self, runs: RunBatch) -> None:
        batch = runs.rows
        bins = self._time.of(batch.start_ns)
        self._recorded[bins] = True
        amount = getattr(batch, self._measure)
        add_cells(
            batch.offsets, bins, batch.page, runs.pages, amount, self._fine.of_page, self._ends, self._cells
        )

    def map(self, totals: PageTotals, most_rows: int) -> HeatMap:
        """The map, once all is read. `totals` are of the same reading."""
        page_bytes = self._recording.info.page_bytes
        rows, of_fine = self._fine.arrange(
            getattr(totals, self._measure), totals.touches, most_rows, page_bytes
        )
        kept = np.flatnonzero(of_fine >= 0)
        starts = np.flatnonzero(np.diff(of_fine[kept], prepend=-1))
        cells = np.zeros((0, self._time.bins), np.uint64)
        if len(kept):
            cells = np.ascontiguousarray(np.add.reduceat(self._cells[:, kept], starts, axis=1).T)
        return HeatMap(
            self._recording.info.name,
            self._measure,
            page_bytes,
            self._time,
            tuple(rows),
            cells,
            self._recorded,
        )


@njit(cache=True)
def add_cells(
    offsets: I64, bins: I64, page: U32, pages: U32, amount: U32, row_of_page: U32, ends: U32, cells: Counts
) -> None:
    """Add each row's amount to the cells of its slice's bin and its pages' rows: uint64[bins, rows] `cells`.

    ends  uint32[pages]  `stretch_ends` of `row_of_page`
    """
    for s in range(len(bins)):
        for i in range(offsets[s], offsets[s + 1]):
            at, end = np.int64(page[i]), np.int64(page[i]) + np.int64(pages[i])
            while at < end:
                stop = end if end == at + 1 else min(end, np.int64(ends[at]))
                cells[bins[s], row_of_page[at]] += np.uint64(amount[i]) * np.uint64(stop - at)
                at = stop
