"""How soon a page took its NUMA hint fault after it was marked, without knowing when that was.

The kernel calls a page hot when it faults within `hot_threshold_ms` of the scan that marked it
(numa_hint_fault_latency, kernel/sched/fair.c); user space sees the fault only. But every scan makes a page fault at
most once, and hot pages fault first. So when a page of a section faults a second time, a new scan has passed over the
section, just now. A page was marked by the first scan after its last fault, and its latency is measured from there.

The page that notices a scan would always be on time, however long it was not used: a section without hot pages notices
scans late. So it counts as late, unless it noticed the scan before, too, and that not long ago as scans go in this
program: then it is the hottest of its section.

Faults are read round by round, and when in its round one happened is not known. Where a round sees two scans, the time
between them is at most the round.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import F64, I64, U8, U32, Bool, Int
from pghot.jit import njit
from pghot.live.machine.sections import SECTION_PAGES, SECTION_SHIFT
from pghot.policies.live_rules import FAST_FAULT, FAULT_HOT_MS, SLOW_FAULT

SPACES = 1 << 16
_NUMBERS = 256  # of scans: 1 to 255, and 0 for a page that did not fault
_NOBODY = 0xFFFFFFFF
# The interval is the shortest of late: it grows by an eighth with each longer one. Quiet sections notice few scans.
_GROWS = 1.125
_LONG = 2  # intervals


class FaultLatency:
    """Estimates the latency of hint faults; one byte for each page, 2 KiB for each section, one word for each space.

    hot_threshold_ms  as the kernel's debugfs knob of that name, 1000 by default
    """

    def __init__(self, sections: int, hot_threshold_ms: int = FAULT_HOT_MS) -> None:
        self._threshold_ms = hot_threshold_ms
        self.scan = np.zeros(sections << SECTION_SHIFT, np.uint8)
        self._scan_now = np.ones(sections, np.uint8)
        self._noticed_by = np.full(sections, _NOBODY, np.uint32)
        self._scan_ms = np.zeros((sections, _NUMBERS), np.int64)
        self._interval_ms = np.full(SPACES, np.inf)
        self._before_ms = self._now_ms = -1

    def counts(self, page: U32, space: I64, below: Bool, now_ms: int) -> U32:
        """uint32[K]: `FAST_FAULT` or `SLOW_FAULT` for each of the faulting pages (dense, uint32[K]).

        space  int64[K]  of each page
        below  bool[K]   it lies below the top tier; other faults are accesses, but no scan marked their pages
        """
        if now_ms != self._now_ms:
            self._before_ms, self._now_ms = now_ms if self._now_ms < 0 else self._now_ms, now_ms
        count = np.empty(len(page), np.uint32)
        judge(
            self.scan, self._scan_now, self._noticed_by, self._scan_ms, self._interval_ms, page, space, below,
            self._before_ms, now_ms, self._threshold_ms, count,
        )  # fmt: skip
        return count

    def interval_ms(self, space: int) -> float:
        """Milliseconds between two scans of the space's hottest memory, as noticed of late; infinite: none yet."""
        return float(self._interval_ms[space])


@njit(cache=True)
def judge(
    scan: U8, scan_now: U8, noticed_by: U32, scan_ms: I64, interval_ms: F64, page: U32, space: I64, below: Bool,
    before_ms: Int, now_ms: Int, threshold_ms: Int, count: U32,
) -> None:  # fmt: skip
    """Fill `count`; see `FaultLatency`.

    scan         uint8[pages]          its section's scan (1..255) in which each page faulted last; 0: in none of these
    scan_now     uint8[sections]       number of the present scan; after 255 comes 1, and all pages start anew
    noticed_by   uint32[sections]      the page that noticed the present scan
    scan_ms      int64[sections, 256]  when each scan was noticed; 0: not yet
    interval_ms  float64[spaces]       between two scans
    before_ms    when the round before was
    """
    for i in range(page.shape[0]):
        p = page[i]
        count[i] = SLOW_FAULT
        if not below[i]:
            continue
        s = p >> np.uint32(SECTION_SHIFT)
        last: Int = np.int64(scan[p])
        if last == scan_now[s]:
            since = float(now_ms - min(scan_ms[s, last], before_ms))
            if scan_ms[s, last] and since:
                interval_ms[space[i]] = min(since, interval_ms[space[i]] * _GROWS + 1)
                if noticed_by[s] == p and since <= _LONG * interval_ms[space[i]]:
                    count[i] = FAST_FAULT
            if last == _NUMBERS - 1:
                first: Int = np.int64(s) << SECTION_SHIFT
                scan[first : first + SECTION_PAGES] = 0
            scan_now[s] = np.uint8(last % (_NUMBERS - 1) + 1)
            scan_ms[s, scan_now[s]] = now_ms
            noticed_by[s] = p
        elif last and now_ms - scan_ms[s, last + 1] <= threshold_ms:
            count[i] = FAST_FAULT
        scan[p] = scan_now[s]
