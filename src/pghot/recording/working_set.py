"""The working set over time: how much memory each window touches, and how much of it takes most of the misses."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U32, Bool, Int
from pghot.jit import njit
from pghot.recording.hot_curve import fewest_taking
from pghot.recording.reader import Recording
from pghot.recording.run_batch import RunBatch
from pghot.recording.time_bins import TimeBins

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
    """Counts the working set of each window while a recording is read. Holds 24 bytes for each page.

    Of a window are kept the edges of what was touched: the pages at which more or fewer rows, or other counts, begin.
    """

    def __init__(self, recording: Recording, time: TimeBins) -> None:
        self._recording, self._time = recording, time
        pages = recording.pages + 1  # an edge may be behind the last
        self._seen = np.full(pages, -1, np.int32)  # the last window with an edge there
        self._rows = np.zeros(pages, np.int64)  # how many more than on the page before, in this window
        self._misses = np.zeros(pages, np.uint64)  # how many more
        self._edges = np.zeros(pages, np.uint32)  # of this window
        self._count, self._window = 0, 0
        self._touched = np.zeros(time.bins, np.int64)
        self._taking = np.zeros((len(PERCENTS), time.bins), np.int64)
        self._totals = np.zeros(time.bins, np.uint64)
        self._recorded = np.zeros(time.bins, np.bool_)

    def add(self, runs: RunBatch) -> None:
        batch = runs.rows
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
            self._count = list_edges(
                batch.page[rows], runs.pages[rows], batch.misses[rows], self._window, self._seen, self._rows,
                self._misses, self._edges, self._count,
            )  # fmt: skip

    def _close(self) -> None:
        """Write down the window that ends, and forget its pages."""
        edges = np.sort(self._edges[: self._count])
        pages, misses = np.zeros(self._count, np.int64), np.zeros(self._count, np.uint64)
        found = int(between_edges(edges, self._rows, self._misses, pages, misses))
        pages, misses = pages[:found], misses[:found]
        self._touched[self._window] = pages.sum()
        self._totals[self._window] = (misses * pages.astype(np.uint64)).sum()
        self._taking[:, self._window] = fewest_taking(misses, PERCENTS, pages)
        self._count = 0

    def result(self) -> WorkingSet:
        """The working set, once all is read."""
        self._close()
        info = self._recording.info
        return WorkingSet(
            info.name, info.page_bytes, self._time, self._touched, self._taking, self._totals, self._recorded
        )


@njit(cache=True)
def list_edges(
    page: U32,
    pages: U32,
    misses: U32,
    window: Int,
    seen: npt.NDArray[np.int32],
    more_rows: I64,
    more_misses: Counts,
    edges: U32,
    count: Int,
) -> Int:
    """Note where the run of each row begins and ends, and list the edges that the window had not before.

    seen         int32[pages + 1]   the last window with an edge there
    more_rows    int64[pages + 1]   rows of this window on the page, less those on the page before
    more_misses  uint64[pages + 1]  their misses of a page, less those of the page before
    edges        uint32[pages + 1]  the first `count` are this window's

    Returns the new count.
    """
    for i in range(len(page)):
        first, end = np.int64(page[i]), np.int64(page[i]) + np.int64(pages[i])
        for edge in (first, end):
            if seen[edge] != window:
                seen[edge] = window
                edges[count] = edge
                count += 1
        more_rows[first] += 1
        more_rows[end] -= 1
        more_misses[first] += np.uint64(misses[i])
        more_misses[end] -= np.uint64(misses[i])
    return count


@njit(cache=True)
def between_edges(edges: U32, more_rows: I64, more_misses: Counts, pages: I64, misses: Counts) -> Int:
    """How many pages are between an edge and the next, where any row is, and what misses each of them had. Clears
    `more_rows` and `more_misses`; returns how many such pieces there are.

    edges   uint32[E]  ascending
    pages   int64[E]   filled in
    misses  uint64[E]  filled in
    """
    found, rows, of_page = 0, np.int64(0), np.uint64(0)
    for i in range(len(edges)):
        if rows > 0:
            pages[found], misses[found] = np.int64(edges[i]) - np.int64(edges[i - 1]), of_page
            found += 1
        rows += more_rows[edges[i]]
        of_page += more_misses[edges[i]]
        more_rows[edges[i]], more_misses[edges[i]] = 0, np.uint64(0)
    return found
