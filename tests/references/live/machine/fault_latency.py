from __future__ import annotations

from dataclasses import dataclass, field

from pghot.live.machine.sections import SECTION_SHIFT
from pghot.policies.live_rules import FAST_FAULT, FAULT_HOT_MS, SLOW_FAULT


@dataclass
class _Section:
    """Scans in the order in which they were noticed: when, and by which page; and in which each page faulted last."""

    scans: list[tuple[int, int]] = field(default_factory=list)
    faulted_in: dict[int, int] = field(default_factory=dict)


@dataclass
class LatencyReference:
    """`FaultLatency` in plain Python. Scan 0 is the time before the first that was noticed."""

    sections: dict[int, _Section] = field(default_factory=dict)
    interval_ms: dict[int, float] = field(default_factory=dict)
    rounds_ms: list[int] = field(default_factory=list)

    def count(self, page: int, space: int, below: bool, now_ms: int) -> int:
        if self.rounds_ms[-1:] != [now_ms]:
            self.rounds_ms.append(now_ms)
        if not below:
            return SLOW_FAULT
        section = self.sections.setdefault(page >> SECTION_SHIFT, _Section())
        last, now = section.faulted_in.get(page), len(section.scans)
        if last is None:
            section.faulted_in[page] = now
            return SLOW_FAULT
        if last < now:
            section.faulted_in[page] = now
            return FAST_FAULT if now_ms - section.scans[last][0] <= FAULT_HOT_MS else SLOW_FAULT
        again = False
        if section.scans:
            (noticed_ms, noticed_by), known = section.scans[-1], self.interval_ms.get(space)
            before_ms = self.rounds_ms[-2] if len(self.rounds_ms) > 1 else now_ms
            since = now_ms - min(noticed_ms, before_ms)
            if since > 0:
                self.interval_ms[space] = since if known is None else min(since, 1.125 * known + 1)
                again = noticed_by == page and since <= 2 * self.interval_ms[space]
        section.scans.append((now_ms, page))
        if now % 255 == 254:  # the numbers begin anew
            section.faulted_in.clear()
        section.faulted_in[page] = now + 1
        return FAST_FAULT if again else SLOW_FAULT
