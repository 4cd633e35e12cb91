"""The life of some pages of a recording: what they did over time, from one reading."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U32, Bool
from pghot.jit import njit
from pghot.recording.allocations import Allocation, allocations_of
from pghot.recording.reader import Recording
from pghot.recording.run_batch import RunBatch
from pghot.recording.target import Target
from pghot.recording.time_bins import TimeBins
from pghot.recording.totals import PageTotals

Counts = npt.NDArray[np.uint64]
COLUMNS = ("touches", "misses", "writes")


@dataclass(frozen=True, slots=True)
class Life:
    """What the pages of `target` did.

    counts         uint64[3, bins]  `COLUMNS` in each bin of time
    recorded       bool[bins]       whether a slice begins in the bin; where not, nobody looked
    touched_pages  of the pages of the target
    slices         in which one of them was touched, of `all_slices`
    first_s, last_s  when the first and the last of these began, from the start of the recording; None: never touched
    miss_share     of all misses of the recording; None: it has none
    colder_share   of all touched pages, those that missed (or where there are no misses, were touched) less often than
                   each of these on average; None: never touched
    allocations    which calls mapped them; empty where that was not recorded
    """

    name: str
    target: Target
    page_bytes: int
    time: TimeBins
    counts: Counts
    recorded: Bool
    touched_pages: int
    slices: int
    all_slices: int
    first_s: float | None
    last_s: float | None
    miss_share: float | None
    colder_share: float | None
    allocations: tuple[Allocation, ...] = ()

    def total(self, column: str) -> int:
        return int(self.counts[COLUMNS.index(column)].sum())


class Lives:
    """Counts the life while a recording is read."""

    def __init__(self, recording: Recording, target: Target, time: TimeBins) -> None:
        self._recording, self._target, self._time = recording, target, time
        self._chosen = np.zeros(recording.pages, np.bool_)
        for span in target.spans:
            self._chosen[span.first_page : span.first_page + span.pages] = True
        self._counts = np.zeros((3, time.bins), np.uint64)
        self._recorded = np.zeros(time.bins, np.bool_)
        self._touched_ns: list[int] = []  # the first and the last slice in which one was touched
        self._slices = 0

    def add(self, runs: RunBatch) -> None:
        batch = runs.rows
        bins = self._time.of(batch.start_ns)
        self._recorded[bins] = True
        amounts = np.stack([batch.touches, batch.misses, batch.writes])
        touched = np.zeros(batch.slices, np.bool_)
        add_life(batch.offsets, bins, batch.page, runs.pages, amounts, self._chosen, self._counts, touched)
        starts = batch.start_ns[touched].tolist()
        if starts:
            self._touched_ns = [*self._touched_ns[:1], starts[0], starts[-1]]
            self._slices += len(starts)

    def result(self, totals: PageTotals) -> Life:
        """The life, once all is read. `totals` are of the same reading."""
        recording, chosen = self._recording, self._chosen
        touched = totals.touches > 0
        own = touched & chosen
        heat = totals.misses if totals.misses.any() else totals.touches
        all_misses = int(totals.misses.sum())
        seconds = [(at - self._time.first_ns) / 1e9 for at in self._touched_ns]
        return Life(
            recording.info.name,
            self._target,
            recording.info.page_bytes,
            self._time,
            self._counts,
            self._recorded,
            touched_pages=int(np.count_nonzero(own)),
            slices=self._slices,
            all_slices=recording.slices,
            first_s=seconds[0] if seconds else None,
            last_s=seconds[-1] if seconds else None,
            miss_share=int(totals.misses[chosen].sum()) / all_misses if all_misses else None,
            colder_share=float((heat[touched] < heat[own].mean()).mean()) if own.any() else None,
            allocations=allocations_of(recording, self._target),
        )


@njit(cache=True)
def add_life(
    offsets: I64, bins: I64, page: U32, pages: U32, amounts: U32, chosen: Bool, counts: Counts, touched: Bool
) -> None:
    """Add the rows of the chosen pages (bool[pages]) to the bins of their slices; set the slices that have such.

    amounts  uint32[3, R]     touches, misses, writes
    counts   uint64[3, bins]  added to
    touched  bool[S]
    """
    for s in range(len(bins)):
        for i in range(offsets[s], offsets[s + 1]):
            own = np.count_nonzero(chosen[page[i] : page[i] + pages[i]])
            if own:
                touched[s] = True
                for column in range(3):
                    counts[column, bins[s]] += np.uint64(amounts[column, i]) * np.uint64(own)
