"""The sweep: DAMON looks at every page once before any moves, and at all of them again each minute.

The filter `young` knows only whether a page was accessed since it last looked. A page that it never looked at was
accessed: somebody filled it. DAMON tells no region that needs a first look from others. Its age, for one, goes on
where a region that nobody used is now used a little (damon_merge_regions_of in mm/damon/core.c, Linux 6.12).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

WAIT_MS = (
    300_000  # promotion waits at most so long for the first: it takes minutes for terabytes of small pages
)
REST_MS = 60_000  # between two


@dataclass(slots=True)
class Sweep:
    """Of the memory of one kdamond.

    share     of the bytes that are watched, looked at by the sweep under way; 1: it is over
    over      the first is
    began_ms  when the last began; 0: none did
    """

    share: float = 1.0
    over: bool = True
    began_ms: int = 0
    _ended_ms: int = 0
    _before: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, needed: bool) -> Sweep:
        return cls(0.0, False) if needed else cls()

    def ready(self, now_ms: int) -> bool:
        """Whether pages may move."""
        return self.over or 0 < self.began_ms <= now_ms - WAIT_MS

    def acts(self, now_ms: int, tried: Sequence[int]) -> bool:
        """Whether it should look at pages now. tried: bytes that it has looked at so far, for each cgroup."""
        if self.share == 1 and now_ms - self._ended_ms >= REST_MS:
            self.share, self.began_ms, self._before = 0.0, now_ms, list(tried)
        self.began_ms = self.began_ms or now_ms
        return self.share < 1

    def looked(self, now_ms: int, tried: Sequence[int], watched_bytes: int) -> None:
        """Take what the kernel counted by now. It looks at regions in turn, so that tells how far the sweep is."""
        if self.share == 1 or not tried:
            return
        before = [*self._before, *[0] * len(tried)]
        least = min(now - then for now, then in zip(tried, before, strict=False))
        self.share = min(1.0, max(0.0, least / max(1, watched_bytes)))
        if self.share == 1:
            self.over, self._ended_ms = True, now_ms
