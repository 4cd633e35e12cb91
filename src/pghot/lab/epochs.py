"""The truth about a trace: which pages missed how often in each epoch, and which were hot.

An epoch is a fixed number of slices. The lab computes this table once for a trace and every run is measured
against it; only oracles may act on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U32
from pghot.jit import njit
from pghot.recording.trace import SliceBatch, Trace

HOT_MISS_SHARE = 0.9  # the hot set of an epoch takes this share of its misses ...
RESIDENT_ROWS = 100_000_000  # decoded rows kept in memory (22 bytes each); longer traces are read again


@njit(cache=True)
def add_misses(
    counts: I64, seen: npt.NDArray[np.uint8], found: U32, length: int, page: U32, misses: U32
) -> int:
    """`counts[page] += misses`, and mark `seen` pages, for the rows of some slices.

    found  uint32[pages]  the pages with counts above 0, in no order: `length` of them; returns how many now
    """
    for row in range(len(page)):
        p = page[row]
        seen[p] = 1
        if misses[row]:
            if counts[p] == 0:
                found[length] = p
                length += 1
            counts[p] += misses[row]
    return length


@njit(cache=True)
def take_misses(counts: I64, page: U32, misses: I64, total: I64) -> None:
    """Move the counts of the pages to `misses`, and add them to `total`."""
    for i in range(len(page)):
        p = page[i]
        misses[i] = counts[p]
        total[p] += counts[p]
        counts[p] = 0


@dataclass(frozen=True, slots=True)
class Epoch:
    """page uint32[K] ascending, misses int64[K] > 0: what missed in this epoch.

    Misses of a page in one slice fit 32 bits; those of an epoch need not.
    """

    page: U32
    misses: I64

    def hot(self, capacity_pages: int) -> U32:
        """The hot set: the fewest pages that take 90 % of the misses, at most `capacity_pages` of them.

        Of pages with equal misses those with the lowest index are taken.
        """
        if len(self.page) == 0:
            return np.empty(0, np.uint32)
        falling = np.sort(self.misses)[::-1]
        running = np.cumsum(falling, dtype=np.int64)
        enough = min(int(np.searchsorted(running, HOT_MISS_SHARE * running[-1])) + 1, capacity_pages)
        if enough == 0:
            return np.empty(0, np.uint32)
        least = falling[enough - 1]
        above = np.flatnonzero(self.misses > least)
        ties = np.flatnonzero(self.misses == least)[: enough - len(above)]
        hot: U32 = self.page[np.concatenate([above, ties])]
        return hot


@dataclass(slots=True)
class Epochs:
    """All epochs of one pass over a trace.

    footprint_pages  distinct pages touched
    total            int64[pages]  misses over the pass
    slices           slices in the pass
    """

    trace: Trace
    epoch_slices: int
    slices: int
    footprint_pages: int
    total: I64
    epochs: list[Epoch] = field(default_factory=list)
    touches: int = 0
    _resident: list[SliceBatch] | None = None

    def batches(self) -> Iterator[SliceBatch]:
        """The trace's slices, from memory when they fit."""
        return iter(self._resident) if self._resident is not None else self.trace.batches()

    def longer(self, epoch_slices: int) -> Epochs:
        """The same pass with epochs of so many slices, at most all of them; itself if they are no longer."""
        length = min(epoch_slices, self.slices)
        if length <= self.epoch_slices:
            return self
        table = Epochs(
            self.trace, length, self.slices, 0, np.zeros_like(self.total), _resident=self._resident
        )
        _fill(table)
        return table


def measure_epochs(trace: Trace, epoch_slices: int | None = None, target_epochs: int = 60) -> Epochs:
    """Read the trace once (twice when it is too long to keep) and build its table.

    epoch_slices  slices in an epoch; None: so many that a pass has about `target_epochs` epochs
    """
    resident: list[SliceBatch] | None = []
    slices = rows = 0
    for batch in trace.batches():
        slices += batch.slices
        rows += batch.rows
        if resident is not None:
            resident.append(batch)
            if rows > RESIDENT_ROWS:
                resident = None
    length = epoch_slices or max(1, slices // target_epochs)
    table = Epochs(trace, length, slices, 0, np.zeros(trace.pages, np.int64), _resident=resident)
    _fill(table)
    return table


def _fill(table: Epochs) -> None:
    counts = np.zeros(table.trace.pages, np.int64)
    seen = np.zeros(table.trace.pages, np.uint8)
    found = np.empty(table.trace.pages, np.uint32)
    in_epoch = length = 0
    for batch in table.batches():
        table.touches += int(batch.touches.sum(dtype=np.int64))
        first = 0
        while first < batch.slices:
            last = min(batch.slices, first + table.epoch_slices - in_epoch)
            rows = slice(batch.offsets[first], batch.offsets[last])
            length = add_misses(counts, seen, found, length, batch.page[rows], batch.misses[rows])
            in_epoch += last - first
            first = last
            if in_epoch == table.epoch_slices:
                _close(table, counts, np.sort(found[:length]))
                in_epoch = length = 0
    if in_epoch:
        _close(table, counts, np.sort(found[:length]))
    table.footprint_pages = int(np.count_nonzero(seen))


def _close(table: Epochs, counts: I64, page: U32) -> None:
    """The epoch is over in which `page` (ascending) missed."""
    misses = np.empty(len(page), np.int64)
    take_misses(counts, page, misses, table.total)
    table.epochs.append(Epoch(page, misses))


def hot_sets(epochs: list[Epoch], capacity_pages: int) -> list[U32]:
    """The hot set of every epoch, for a top tier of `capacity_pages`."""
    return [epoch.hot(capacity_pages) for epoch in epochs]
