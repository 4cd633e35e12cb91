"""The time of a recording in equal bins: the columns of a heat map, the windows of a working set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pghot.arrays import I64, U64, Bool
from pghot.errors import UsageError
from pghot.recording.reader import Recording
from pghot.units import format_duration

MOST_BINS = 100_000


@dataclass(frozen=True, slots=True)
class TimeBins:
    """Bin b holds the slices that begin in [first_ns + b * bin_ns, first_ns + (b + 1) * bin_ns)."""

    first_ns: int
    bin_ns: int
    bins: int

    def of(self, start_ns: U64) -> I64:
        """The bin of each slice.

        >>> TimeBins(1000, 500, 3).of(np.array([1000, 1499, 2000], np.uint64)).tolist()
        [0, 0, 2]
        """
        return ((start_ns - np.uint64(self.first_ns)) // np.uint64(self.bin_ns)).astype(np.int64)

    @property
    def seconds(self) -> list[float]:
        """Where each bin begins, from the start of the recording."""
        return [b * self.bin_ns / 1e9 for b in range(self.bins)]

    def of_gaps(self, recorded: Bool) -> list[tuple[float, float]]:
        """Seconds at which each run of bins begins and ends that are not recorded: bool[bins].

        >>> TimeBins(0, 500_000_000, 3).of_gaps(np.array([True, False, False]))
        [(0.5, 1.5)]
        """
        return [(begin * self.bin_ns / 1e9, end * self.bin_ns / 1e9) for begin, end in runs(~recorded)]


def runs(flags: Bool) -> list[tuple[int, int]]:
    """Where each run of what is set begins and ends.

    >>> runs(np.array([True, False, True, True]))
    [(0, 1), (2, 4)]
    """
    edges = np.flatnonzero(np.diff(flags, prepend=False, append=False)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def at_most(recording: Recording, bins: int) -> TimeBins:
    """At most so many bins, each as long as 1, 2, 3, ... slices: so each holds as many slices as any other."""
    slices = -(-recording.duration_ns // recording.info.slice_ns)
    return _of_slices(recording, max(1, -(-slices // bins)))


def windows(recording: Recording, window_ns: int | None, usual: int = 200) -> TimeBins:
    """Bins of the whole number of slices nearest to `window_ns`; without it of 1, 2, 5, 10, 20, 50, ... slices each,
    the finest that gives at most `usual` of them.

    Raises `UsageError` for windows shorter than a slice, and for more than `MOST_BINS`.
    """
    slice_ns = recording.info.slice_ns
    if window_ns is None:
        each, step = 1, 0
        while -(-recording.duration_ns // (slice_ns * each)) > usual:
            step += 1
            each = (1, 2, 5)[step % 3] * 10 ** (step // 3)
        return _of_slices(recording, each)
    if window_ns < slice_ns:
        raise UsageError(
            f"windows of {format_duration(window_ns)} are shorter than a slice of the recording (--window)",
            f"give at least {format_duration(slice_ns)}",
        )
    found = _of_slices(recording, round(window_ns / slice_ns))
    if found.bins > MOST_BINS:
        raise UsageError(
            f"{found.bins:,} windows are too many (--window)", f"at most {MOST_BINS:,}: give longer ones"
        )
    return found


def _of_slices(recording: Recording, each: int) -> TimeBins:
    bin_ns = recording.info.slice_ns * each
    return TimeBins(recording.first_ns, bin_ns, max(1, -(-recording.duration_ns // bin_ns)))
