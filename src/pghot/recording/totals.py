"""What the rows of a recording add up to, for each page and each thread; and the one reading that adds them up."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pghot.arrays import U32
from pghot.jit import njit
from pghot.recording.reader import Recording
from pghot.recording.run_batch import RunBatch

Counts = npt.NDArray[np.uint64]


class AddsUp(Protocol):
    """Something that takes in the slices of a recording, batch after batch, threads told apart, rows as on disk."""

    def add(self, runs: RunBatch) -> None: ...


def read_once(
    recording: Recording, *parts: AddsUp, progress: Callable[[int, int], None] | None = None
) -> None:
    """Hand every batch of the recording to each of the parts. Raises as `Recording.batches`.

    progress  is told how many rows of how many were read
    """
    done = 0
    for runs in recording.run_batches():
        for part in parts:
            part.add(runs)
        done += runs.all_rows
        if progress is not None:
            progress(done, recording.rows)


class PageTotals:
    """Touches, misses and writes of each dense page over the whole recording, each uint64[pages].

    What is kept while it is read is by how much each page has more than the one before it: so a run costs as little as
    a page.
    """

    def __init__(self, pages: int) -> None:
        self._changes: Counts = np.zeros((3, pages + 1), np.uint64)

    def add(self, runs: RunBatch) -> None:
        rows = runs.rows
        add_rows(rows.page, runs.pages, rows.touches, rows.misses, rows.writes, self._changes)

    @cached_property
    def _totals(self) -> tuple[Counts, ...]:
        np.cumsum(self._changes, axis=1, out=self._changes)
        return tuple(self._changes[:, :-1])

    @property
    def touches(self) -> Counts:
        """Once all is read, as `misses` and `writes`."""
        return self._totals[0]

    @property
    def misses(self) -> Counts:
        return self._totals[1]

    @property
    def writes(self) -> Counts:
        return self._totals[2]


class TaskTotals:
    """Touches and misses of each thread by its number, uint64[65536, 2]."""

    def __init__(self) -> None:
        self.totals = np.zeros((1 << 16, 2), np.uint64)

    def add(self, runs: RunBatch) -> None:
        counts = np.stack([runs.rows.touches, runs.rows.misses], axis=1) * runs.pages[:, None].astype(
            np.uint64
        )
        np.add.at(self.totals, runs.rows.thread, counts)


@njit(cache=True)
def add_rows(page: U32, pages: U32, touches: U32, misses: U32, writes: U32, changes: Counts) -> None:
    """Add each row's touches, misses and writes to its pages: uint64[3, pages + 1] `changes` from page to page."""
    for i in range(len(page)):
        first, end = np.int64(page[i]), np.int64(page[i]) + np.int64(pages[i])
        changes[0, first] += np.uint64(touches[i])
        changes[0, end] -= np.uint64(touches[i])
        changes[1, first] += np.uint64(misses[i])
        changes[1, end] -= np.uint64(misses[i])
        changes[2, first] += np.uint64(writes[i])
        changes[2, end] -= np.uint64(writes[i])
