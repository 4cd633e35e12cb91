"""What each region and each thread did over time: touches, misses and writes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U16, U32, Bool
from pghot.jit import njit
from pghot.recording.reader import Recording
from pghot.recording.run_batch import RunBatch, stretch_ends
from pghot.recording.spans import UNNAMED
from pghot.recording.time_bins import TimeBins

Counts = npt.NDArray[np.uint64]

COLUMNS = ("touches", "misses", "writes")
TOLD_APART = 1023  # names of regions, and threads: what comes after is counted together
OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Activity:
    """Counts over time. Each of the first axes is `COLUMNS`.

    regions, by_region  the names that were touched, most misses first; uint64[3, names, bins]
    threads, by_thread  the threads that touched something, most misses first; uint64[3, threads, bins]. Empty where
                        threads were not told apart
    threads_at_work     int64[names, bins]  how many threads touched the region in each bin
    recorded            bool[bins]          whether a slice begins in the bin; where not, nobody looked
    """

    name: str
    time: TimeBins
    regions: tuple[str, ...]
    by_region: Counts
    threads: tuple[str, ...]
    by_thread: Counts
    threads_at_work: I64
    recorded: Bool


class Activities:
    """Counts the activity while a recording is read."""

    def __init__(self, recording: Recording, time: TimeBins) -> None:
        self._recording, self._time = recording, time
        names = dict.fromkeys(region.name for region in recording.regions)
        self._names = [UNNAMED, *list(names)[:TOLD_APART]] + [OTHERS] * (len(names) > TOLD_APART)
        number = {name: 1 + place for place, name in enumerate(names)}
        self._name_of_page = np.zeros(recording.pages, np.uint16)
        for region in recording.regions:
            own = slice(region.first_page, region.first_page + region.pages)
            self._name_of_page[own] = min(number[region.name], 1 + TOLD_APART)
        self._ends = stretch_ends(self._name_of_page)
        self._threads = min(len(recording.info.tasks), TOLD_APART + 1)
        self._by_region = np.zeros((3, time.bins, len(self._names)), np.uint64)
        self._by_thread = np.zeros((3, time.bins, max(1, self._threads)), np.uint64)
        self._at_work = np.zeros((len(self._names), max(1, self._threads)), np.int64)
        self._threads_at_work = np.zeros((time.bins, len(self._names)), np.int64)
        self._recorded = np.zeros(time.bins, np.bool_)

    def add(self, runs: RunBatch) -> None:
        batch = runs.rows
        bins = self._time.of(batch.start_ns)
        self._recorded[bins] = True
        add_activity(
            batch.offsets, bins, batch.page, runs.pages, batch.thread,
            np.stack([batch.touches, batch.misses, batch.writes]), self._name_of_page, self._ends, self._by_region,
            self._by_thread, self._at_work, self._threads_at_work,
        )  # fmt: skip

    def result(self) -> Activity:
        """The activity, once all is read."""
        regions = _ranked(self._by_region)
        threads = _ranked(self._by_thread) if self._threads else []
        tasks = self._recording.info.tasks
        titles = [f"{task.tid} {task.name}".strip() for task in tasks[:TOLD_APART]]
        titles += [OTHERS] * (len(tasks) > TOLD_APART)
        return Activity(
            self._recording.info.name,
            self._time,
            tuple(self._names[number] for number in regions),
            np.ascontiguousarray(self._by_region[:, :, regions].transpose(0, 2, 1)),
            tuple(titles[number] for number in threads),
            np.ascontiguousarray(self._by_thread[:, :, threads].transpose(0, 2, 1)),
            np.ascontiguousarray(self._threads_at_work[:, regions].T),
            self._recorded,
        )


def _ranked(counts: Counts) -> list[int]:
    """Who touched anything, most misses first, then most touches."""
    touches, misses, _ = counts.sum(axis=1)
    return [
        int(each)
        for each in np.lexsort((-touches.astype(np.int64), -misses.astype(np.int64)))
        if touches[each]
    ]


@njit(cache=True)
def add_activity(
    offsets: I64,
    bins: I64,
    page: U32,
    pages: U32,
    thread: U16,
    amounts: U32,
    name_of_page: U16,
    ends: U32,
    by_region: Counts,
    by_thread: Counts,
    at_work: I64,
    threads_at_work: I64,
) -> None:
    """Add each row to its thread and the names of its pages, in the bin of its slice. The last thread is of all that
    follow.

    amounts          uint32[3, R]              touches, misses, writes
    ends             uint32[pages]             `stretch_ends` of `name_of_page`
    by_region        uint64[3, bins, names]    added to
    by_thread        uint64[3, bins, threads]  added to
    at_work          int64[names, threads]     one more than the last bin in which the thread touched the region
    threads_at_work  int64[bins, names]        added to: how many threads touched it
    """
    most = by_thread.shape[2] - 1
    for s in range(len(bins)):
        b = bins[s]
        for i in range(offsets[s], offsets[s + 1]):
            who = min(thread[i], most)
            at, end = np.int64(page[i]), np.int64(page[i]) + np.int64(pages[i])
            while at < end:
                stop = end if end == at + 1 else min(end, np.int64(ends[at]))
                name = name_of_page[at]
                for column in range(3):
                    count = np.uint64(amounts[column, i]) * np.uint64(stop - at)
                    by_region[column, b, name] += count
                    by_thread[column, b, who] += count
                if at_work[name, who] != b + 1:
                    at_work[name, who] = b + 1
                    threads_at_work[b, name] += 1
                at = stop
