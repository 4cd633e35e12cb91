"""The overhead budget: when pghot uses more CPU than it may, its sources sample less, and it looks at the programs less
often."""

from __future__ import annotations

from collections import deque
from statistics import median

from pghot.live.own_cost import OwnCost

CHECK_S = 5.0
LOWEST_EFFORT = 1 / 64
REFRESH_SHARE = 0.5  # of the limit, for looking at programs and their mappings
_RECOVERY = 1.25  # slow recovery, so that it does not oscillate


class Budget:
    """`effort` is the share of their full rate at which the sources may sample."""

    def __init__(self, max_cpu_percent: float, now_s: float) -> None:
        self.max_cpu_percent = max_cpu_percent
        self.effort = 1.0
        self.cpu_percent = 0.0
        self._cost = OwnCost()
        self._checked_s = now_s
        self._visitors_s = 0.0
        self._looks_s = deque([0.0, 0.0, 0.0], maxlen=3)

    def leave_out(self, cpu_s: float) -> None:
        """So much of pghot's CPU time was spent on visitors of the daemon: no reason to look at programs less."""
        self._visitors_s += cpu_s

    def tick(self, now_s: float) -> bool:
        """Look every few seconds; True when the effort changed."""
        if now_s - self._checked_s < CHECK_S:
            return False
        visitors = 100 * self._visitors_s / (now_s - self._checked_s)
        self._checked_s, self._visitors_s = now_s, 0.0
        return self.judge(max(0.0, self._cost.percent_since_last() - visitors))

    def pause_ms(self, refresh_s: float) -> float:
        """How long to wait from a look at the programs, which took so many seconds of CPU time, to the next.

        By the median of the last three. One that took seconds, because kernels were compiled in it, would leave pghot
        blind to new programs for minutes; and where every second one is dear, as all mappings are read, each counts.
        """
        self._looks_s.append(refresh_s)
        return 1000 * median(self._looks_s) / (REFRESH_SHARE * self.max_cpu_percent / 100)

    def judge(self, cpu_percent: float) -> bool:
        """Adjust the effort to a CPU use of `cpu_percent` at the current effort."""
        self.cpu_percent = cpu_percent
        before = self.effort
        if cpu_percent > self.max_cpu_percent:
            self.effort = max(LOWEST_EFFORT, self.effort * self.max_cpu_percent / cpu_percent)
        elif cpu_percent * _RECOVERY < self.max_cpu_percent:
            self.effort = min(1.0, self.effort * _RECOVERY)
        return self.effort != before
