"""When to sweep old records away, so that a short modular timestamp is never ambiguous.

A record keeps only the low bits of its time. They are unambiguous as long as no record is older than the range
of those bits. A sweep removes what is older than `keep`, and the next one is due before anything can outlive the
range. This holds however far apart the calls are: ages are first taken against the time of the latest record,
when they were still unambiguous, and the time since then is added.
"""

from __future__ import annotations


class Ageing:
    """Sweep times of one store, in the store's ticks (128 ms for u8 records, 1 ms for the others)."""

    def __init__(self, window: int, oldest: int, prune_age: float) -> None:
        """`window` <= `oldest`, the largest age that the layout can tell; both in ticks.

        Records are kept until half way between the window and the largest age, but no longer than `prune_age`
        windows.
        """
        half_way = window + (oldest - window) // 2
        self.keep = max(window, min(half_way, int(prune_age * window)))
        self.slack = min(oldest - self.keep, max(window, 1))
        self.stamp = 0
        self._swept = 0

    def overdue(self, now: int) -> bool:
        """Whether a sweep is needed before anything is recorded or judged at `now`."""
        return now - self._swept > self.slack

    def swept(self, now: int) -> None:
        """Note that a sweep was done at `now`."""
        self._swept = now

    def recorded(self, now: int) -> None:
        """Note that records stamped `now` were written."""
        self.stamp = max(self.stamp, now)
