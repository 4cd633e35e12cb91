from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pghot.live.machine.sections import SECTION_SHIFT
from pghot.policies.live_rules import AGEING_MS, FAST_FAULT, FAULT_HOT_MS, SLOW_FAULT


@dataclass
class LatencyReference:
    """`FaultLatency` in plain Python: no arrays, scans numbered on without end."""

    faulted_in: dict[int, int] = field(default_factory=dict)
    scans: dict[int, list[int]] = field(
        default_factory=dict
    )  # of a section: the first fault, then each noticed scan
    interval_ms: dict[int, float] = field(default_factory=dict)

    def counts(
        self, faults: Iterable[tuple[int, int, bool]], age: list[int], now_ms: int, numbers: int = 255
    ) -> list[int]:
        """faults  page, space and whether the page lies below the top tier"""
        return [self._count(*fault, age, now_ms, numbers) for fault in faults]

    def _count(self, page: int, space: int, below: bool, age: list[int], now_ms: int, numbers: int) -> int:
        if not below:
            return SLOW_FAULT
        scans = self.scans.setdefault(page >> SECTION_SHIFT, [now_ms])
        if page in self.faulted_in and (len(scans) - self.faulted_in[page]) % numbers == 0:
            if age[page] <= 2:
                since = now_ms - scans[-1]
                known = self.interval_ms.get(space)
                self.interval_ms[space] = since if known is None else min(since, 1.125 * known + 1)
            scans.append(now_ms)
        self.faulted_in[page] = len(scans)
        if len(scans) == 1 or now_ms - scans[-1] > FAULT_HOT_MS:
            return SLOW_FAULT
        unseen_ms = max(age[page] - 1, 0) * AGEING_MS
        interval = self.interval_ms.get(space)
        long_ago = interval is not None and unseen_ms - interval > FAULT_HOT_MS
        return SLOW_FAULT if long_ago else FAST_FAULT
