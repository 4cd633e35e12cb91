"""What pghot itself costs: its CPU time, as the kernel counts it."""

from __future__ import annotations

import resource
import time


def cpu_seconds() -> float:
    """User and system time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class OwnCost:
    """CPU time since it was made or last asked."""

    def __init__(self) -> None:
        self.began_s, self._began_cpu_s = time.monotonic(), cpu_seconds()
        self._then_s, self._then_cpu_s = self.began_s, self._began_cpu_s

    def total_s(self) -> float:
        """CPU seconds since the beginning."""
        return cpu_seconds() - self._began_cpu_s

    def percent_since_last(self) -> float:
        """Share of one CPU since the last call, in percent."""
        now_s, now_cpu_s = time.monotonic(), cpu_seconds()
        share = (now_cpu_s - self._then_cpu_s) / max(now_s - self._then_s, 1e-3)
        self._then_s, self._then_cpu_s = now_s, now_cpu_s
        return 100 * share
