"""When to sweep old records away, so that a short modular timestamp never has to be guessed.

A record keeps only the low bits of its time. They are unambiguous as long as no record gets older than the
range of those bits. The bookkeeping here keeps it so, however far apart the calls are: a sweep removes what
is older than `keep`, and the next one is due before anything can outlive the range. Ages are first taken
against the time of the latest record (where they were still unambiguous), then the time since is added.
"""

from __future__ import annotations


class Ageing:
    """Sweep times of one store, in the store's ticks (128 ms for u8 records, 1 ms for the others)."""

    def __init__(self, window: int, oldest: int, prune_age: float) -> None:
        """`window` <= `oldest`, the largest age that the layout can tell; both in ticks.

        Records are kept half way from the window to the layout's end, but no longer than `prune_age` windows.
        """
        half_way = window + (oldest - window) // 2
        self.keep = max(window, min(half_way, int(prune_age * window)))
        self.slack = min(oldest - self.keep, max(window, 1))
        self.stamp = 0
        self._swept = 0

    def overdue(self, now: int) -> bool:
        """Whether records must be swept before anything is recorded or judged at `now`."""
        return now - self._swept > self.slack

    def swept(self, now: int) -> None:
        """A sweep at `now` is done."""
        self._swept = now

    def recorded(self, now: int) -> None:
        """Records stamped `now` were written."""
        self.stamp = max(self.stamp, now)
