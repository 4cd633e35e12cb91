"""How soon a page took its NUMA hint fault after it was marked, without knowing when that was.

The kernel calls a page hot when it faults within `hot_threshold_ms` of the scan that marked it
(numa_hint_fault_latency, kernel/sched/fair.c); user space sees the fault only. But every scan makes a page fault
at most once, and hot pages fault first. So: when a page of a section faults a second time, a new scan has passed
over the section, just now; the other faults of that scan are measured from there.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pghot.arrays import I64, U8, U32, Int
from pghot.live.machine.sections import SECTION_SHIFT
from pghot.policies.live_rules import FAST_FAULT, FAULT_HOT_MS, SLOW_FAULT


class FaultLatency:
    """Estimates the latency of hint faults; one byte for each page, and two words for each section.

    hot_threshold_ms  as the kernel's debugfs knob of that name, 1000 by default
    """

    def __init__(self, sections: int, hot_threshold_ms: int = FAULT_HOT_MS) -> None:
        self._threshold_ms = hot_threshold_ms
        self.scan = np.zeros(sections << SECTION_SHIFT, np.uint8)
        self._scan_now = np.ones(sections, np.uint8)
        self._scan_ms = np.zeros(sections, np.int64)

    def counts(self, page: U32, now_ms: int) -> U32:
        """uint32[K]: `FAST_FAULT` or `SLOW_FAULT` for each of the faulting pages (dense, uint32[K])."""
        count = np.empty(len(page), np.uint32)
        judge(self.scan, self._scan_now, self._scan_ms, page, now_ms, self._threshold_ms, count)
        return count


@njit(cache=True)
def judge(
    scan: U8, scan_now: U8, scan_ms: I64, page: U32, now_ms: Int, threshold_ms: Int, count: U32
) -> None:
    """Fill `count`; see `FaultLatency`.

    scan      uint8[pages]     number of the scan (of its section, 1..255) in which each page faulted last; 0: none
    scan_now  uint8[sections]  number of the present scan
    scan_ms   int64[sections]  when it was first noticed
    """
    for i in range(page.shape[0]):
        p = page[i]
        s = p >> np.uint32(SECTION_SHIFT)
        if scan[p] == scan_now[s]:
            scan_now[s] = np.uint8(1) if scan_now[s] == 255 else np.uint8(scan_now[s] + 1)
            scan_ms[s] = now_ms
        scan[p] = scan_now[s]
        count[i] = FAST_FAULT if now_ms - scan_ms[s] <= threshold_ms else SLOW_FAULT
