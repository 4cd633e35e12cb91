"""The working set over time: how much memory each window touches, and how much of it takes most of the misses."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from numba import njit

from pghot.arrays import I64, U32, Bool, Int
from pghot.recording.hot_curve import fewest_taking
from pghot.recording.reader import Recording
from pghot.recording.time_bins import TimeBins
from pghot.recording.trace import SliceBatch

Counts = npt.NDArray[np.uint64]

PERCENTS = (50, 90, 99)


@dataclass(frozen=True, slots=True)
class WorkingSet:
    """Pages in each window of time.

    touched   int64[W]     distinct pages that were touched
    taking    int64[3, W]  the fewest pages that take at least 50, 90 and 99 % of the window's misses; 0 without any
    misses    uint64[W]
    recorded  bool[W]      whether a slice begins in the window; where not, nobody looked
    """

    name: str
    page_bytes: int
    time: TimeBins
    touched: I64
    taking: I64
    misses: Counts
    recorded: Bool


class WorkingSets:
    """Counts the working set of each window while a recording is read. Holds 16 bytes for each page."""

    def __init__(self, recording: Recording, time: TimeBins) -> None:
        self._recording, self._time = recording, time
        self._seen = np.full(recording.pages, -1, np.int32)  # the last window that touched the page
        self._misses = np.zeros(recording.pages, np.uint64)  # in this window
        self._listed = np.zeros(recording.pages, np.uint32)  # the pages of this window
        self._count, self._window = 0, 0
        self._touched = np.zeros(time.bins, np.int64)
        self._taking = np.zeros((len(PERCENTS), time.bins), np.int64)
        self._totals = np.zeros(time.bins, np.uint64)
        self._recorded = np.zeros(time.bins, np.bool_)

    def add(self, batch: SliceBatch) -> None:
        bins = self._time.of(batch.start_ns)
        self._recorded[bins] = True
        edges = [0, *(np.flatnonzero(np.diff(bins)) + 1).tolist(), len(bins)]
        for begin, end in pairwise(edges):
            if begin == end:  # a batch without slices
                continue
            if bins[begin] != self._window:
                self._close()
                self._window = int(bins[begin])
            rows = slice(int(batch.offsets[begin]), int(batch.offsets[end]))
            self._count = list_pages(
                batch.page[rows],
                batch.misses[rows],
                self._window,
                self._seen,
                self._misses,
                self._listed,
                self._count,
            )

    def _close(self) -> None:
        """Write down the window that ends, and forget its pages."""
        misses = self._misses[self._listed[: self._count]]
        self._touched[self._window] = self._count
        self._totals[self._window] = misses.sum()
        self._taking[:, self._window] = fewest_taking(misses, PERCENTS)
        self._misses[self._listed[: self._count]] = 0
        self._count = 0

    def result(self) -> WorkingSet:
        """The working set, once all is read."""
        self._close()
        info = self._recording.info
        return WorkingSet(
            info.name, info.page_bytes, self._time, self._touched, self._taking, self._totals, self._recorded
        )


@njit(cache=True)
def list_pages(
    page: U32, misses: U32, window: Int, seen: npt.NDArray[np.int32], of_page: Counts, listed: U32, count: Int
) -> Int:
    """Add each row's misses to its page's, and list the pages that the window had not touched before.

    seen     int32[pages]   the last window that touched the page
    of_page  uint64[pages]  misses of this window
    listed   uint32[pages]  the first `count` are this window's pages

    Returns the new count.
    """
    for i in range(len(page)):
        p = page[i]
        if seen[p] != window:
            seen[p] = window
            listed[count] = p
            count += 1
        of_page[p] += np.uint64(misses[i])
    return count
