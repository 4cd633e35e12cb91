"""How soon a page took its NUMA hint fault after it was marked, without knowing when that was.

The kernel calls a page hot when it faults within `hot_threshold_ms` of the scan that marked it
(numa_hint_fault_latency, kernel/sched/fair.c); user space sees the fault only. Two things are known of it:

* A scan makes a page fault at most once, and hot pages fault first. So when a page of a section faults a second time, a
  new scan has passed over the section, just now; the other faults of that scan came at least as late as they are
  seen after it.
* A page is marked again at most one interval between two scans after its last fault. So a page that was last seen long
  before that was marked long ago, however new the latest scan is.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pghot.arrays import F64, I64, U8, U32, Bool, Int
from pghot.live.machine.sections import SECTION_SHIFT
from pghot.policies.live_rules import AGEING_MS, FAST_FAULT, FAULT_HOT_MS, SLOW_FAULT

SPACES = 1 << 16
_NEVER = -1
# The interval is the shortest of late: it grows by an eighth with each longer one. A page that was not seen for long
# tells that it is cold, and nothing of scans.
_GROWS = 1.125
_RECENT_AGE = 2


class FaultLatency:
    """Estimates the latency of hint faults; one byte for each page, two words for each section, one for each space.

    hot_threshold_ms  as the kernel's debugfs knob of that name, 1000 by default
    """

    def __init__(self, sections: int, hot_threshold_ms: int = FAULT_HOT_MS) -> None:
        self._threshold_ms = hot_threshold_ms
        self.scan = np.zeros(sections << SECTION_SHIFT, np.uint8)
        self._scan_now = np.ones(sections, np.uint8)
        self._scan_ms = np.full((2, sections), _NEVER, np.int64)
        self._interval_ms = np.full(SPACES, np.inf)

    def counts(self, page: U32, space: I64, below: Bool, age: U8, now_ms: int) -> U32:
        """uint32[K]: `FAST_FAULT` or `SLOW_FAULT` for each of the faulting pages (dense, uint32[K]).

        space  int64[K]     of each page
        below  bool[K]      it lies below the top tier; other faults are accesses, but no scan marked their pages
        age    uint8[pages] see `Pages`, before these faults
        """
        count = np.empty(len(page), np.uint32)
        judge(
            self.scan, self._scan_now, self._scan_ms, self._interval_ms, page, space, below, age, now_ms,
            self._threshold_ms, count,
        )  # fmt: skip
        return count

    def interval_ms(self, space: int) -> float:
        """Milliseconds between two scans of the space's hottest memory, as measured of late; infinite: none yet."""
        return float(self._interval_ms[space])

    def forget(self, space: int) -> None:
        """Another program gets this number."""
        self._interval_ms[space] = np.inf


@njit(cache=True)
def judge(
    scan: U8, scan_now: U8, scan_ms: I64, interval_ms: F64, page: U32, space: I64, below: Bool, age: U8,
    now_ms: Int, threshold_ms: Int, count: U32,
) -> None:  # fmt: skip
    """Fill `count`; see `FaultLatency`.

    scan         uint8[pages]        its section's scan (1..255) in which each page faulted last; 0: none
    scan_now     uint8[sections]     number of the present scan
    scan_ms      int64[2, sections]  when it was first noticed, and when the first fault of all was seen; -1: not yet
    interval_ms  float64[spaces]     between two scans
    """
    for i in range(page.shape[0]):
        p = page[i]
        if not below[i]:
            count[i] = SLOW_FAULT
            continue
        s = p >> np.uint32(SECTION_SHIFT)
        if scan_ms[1, s] == _NEVER:
            scan_ms[1, s] = now_ms
        if scan[p] == scan_now[s]:
            if age[p] <= _RECENT_AGE:
                since: Int = now_ms - max(scan_ms[0, s], scan_ms[1, s])
                interval_ms[space[i]] = min(float(since), interval_ms[space[i]] * _GROWS + 1)
            scan_now[s] = np.uint8(1) if scan_now[s] == 255 else np.uint8(scan_now[s] + 1)
            scan_ms[0, s] = now_ms
        scan[p] = scan_now[s]
        periods: Int = np.int64(age[p])
        unseen_ms = max(periods - 1, 0) * AGEING_MS - interval_ms[space[i]]
        noticed = scan_ms[0, s] != _NEVER and now_ms - scan_ms[0, s] <= threshold_ms
        count[i] = FAST_FAULT if noticed and unseen_ms <= threshold_ms else SLOW_FAULT
