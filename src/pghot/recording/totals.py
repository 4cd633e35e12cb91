"""What the rows of a recording add up to, for each page and each thread; and the one reading that adds them up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
from numba import njit

from pghot.arrays import U32
from pghot.recording.reader import Recording
from pghot.recording.trace import SliceBatch

Counts = npt.NDArray[np.uint64]


class AddsUp(Protocol):
    """Something that takes in the slices of a recording, batch after batch, threads told apart."""

    def add(self, batch: SliceBatch) -> None: ...


def read_once(
    recording: Recording, *parts: AddsUp, progress: Callable[[int, int], None] | None = None
) -> None:
    """Hand every batch of the recording to each of the parts. Raises as `Recording.batches`.

    progress  is told how many rows of how many were read
    """
    done = 0
    for batch in recording.batches(by_thread=True):
        for part in parts:
            part.add(batch)
        done += batch.rows
        if progress is not None:
            progress(done, recording.rows)


class PageTotals:
    """Touches, misses and writes of each dense page over the whole recording, each uint64[pages]."""

    def __init__(self, pages: int) -> None:
        self._totals: Counts = np.zeros((3, pages), np.uint64)
        self.touches, self.misses, self.writes = self._totals

    def add(self, batch: SliceBatch) -> None:
        add_rows(batch.page, batch.touches, batch.misses, batch.writes, self._totals)


class TaskTotals:
    """Touches and misses of each thread by its number, uint64[65536, 2]."""

    def __init__(self) -> None:
        self.totals = np.zeros((1 << 16, 2), np.uint64)

    def add(self, batch: SliceBatch) -> None:
        np.add.at(
            self.totals, batch.thread, np.stack([batch.touches, batch.misses], axis=1).astype(np.uint64)
        )


@njit(cache=True)
def add_rows(page: U32, touches: U32, misses: U32, writes: U32, totals: Counts) -> None:
    """Add each row's touches, misses and writes to uint64[3, pages] `totals` of its page."""
    for i in range(len(page)):
        totals[0, page[i]] += np.uint64(touches[i])
        totals[1, page[i]] += np.uint64(misses[i])
        totals[2, page[i]] += np.uint64(writes[i])
