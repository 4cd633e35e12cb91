"""Does moving pages help: what was seen of the programs' accesses in the first seconds beside the last.

Sources that see every tier tell the share of the accesses that fast memory served. Hint faults come from below the top
tier only: there it is how often, which should fall. Pressure is the share of time in which some task waited for memory
(PSI), of the cgroup or of the machine.
"""

from __future__ import annotations

from typing import TypedDict

from pghot.kernel.pressure import waited_for_memory_us
from pghot.kernel.sysroot import SysRoot

WINDOW_MS = 5000


class WindowFacts(TypedDict):
    """What was seen in one stretch of time; None: no source told, or the kernel does not.

    fast_share        of the accesses seen on any tier, those on the top tier
    below_per_s       accesses seen below the top tier in a second
    pressure_percent  of the time in which some task waited for memory
    """

    seconds: float
    fast_share: float | None
    below_per_s: float | None
    pressure_percent: float | None


class EffectFacts(TypedDict):
    first: WindowFacts
    last: WindowFacts


class Effect:
    """Counts in windows; keeps the first and the last that are complete.

    cgroup  of which the pressure is read, "": the whole machine's
    """

    def __init__(self, root: SysRoot, cgroup: str, now_ms: int) -> None:
        self._root, self._cgroup = root, cgroup
        self._first: WindowFacts | None = None
        self._last: WindowFacts | None = None
        self._begin(now_ms)

    def saw(self, every_tier: bool, top: int, below: int) -> None:
        """Accesses on the top tier and below, by a source that sees every tier, or only those below."""
        self._below += below
        self._sighted = True
        if every_tier:
            self._served += top
            self._seen += top + below

    def tick(self, now_ms: int) -> None:
        if now_ms - self._began_ms < WINDOW_MS:
            return
        seconds, stalled_us = (now_ms - self._began_ms) / 1000, waited_for_memory_us(self._root, self._cgroup)
        pressure = (
            None
            if stalled_us is None or self._stalled_at_us is None
            else round((stalled_us - self._stalled_at_us) / 1e4 / seconds, 2)
        )
        window: WindowFacts = {
            "seconds": seconds,
            "fast_share": round(self._served / self._seen, 4) if self._seen else None,
            "below_per_s": round(self._below / seconds, 1) if self._sighted or self._first else None,
            "pressure_percent": pressure,
        }
        # The first stretch in which anything was seen: sources take a while to begin.
        if self._sighted or self._first:
            self._first, self._last = self._first or window, window
        self._begin(now_ms)

    def facts(self) -> EffectFacts | None:
        """None until there are two windows."""
        if self._first is None or self._last is None or self._first is self._last:
            return None
        return {"first": self._first, "last": self._last}

    def _begin(self, now_ms: int) -> None:
        self._began_ms, self._stalled_at_us = now_ms, waited_for_memory_us(self._root, self._cgroup)
        self._served = self._seen = self._below = 0
        self._sighted = False
