"""The scanner of NUMA balancing that each address space has (task_numa_work(), kernel/sched/fair.c), simulated.

It runs in the process's own threads. In every scan period it makes the next 256 MiB of the address space PROT_NONE,
except for pages of the top tier. The sysctls give the time of a pass over the whole process, so the period of a step
follows from its resident memory, but is at least 100 ms (task_scan_min(), Linux 6.17): a pass over 100 GiB takes 40 s,
and four processes of 25 GiB are each through in 10 s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pghot.arrays import I32, NOWHERE, U8, U32, Bool
from pghot.carry import Carry
from pghot.jit import njit

UNMARKED = -1
UNREACHED = -2  # unmarked, in a mapping that no scan has reached
MAX_SCAN_WINDOW = (
    2560 << 20
)  # bytes scanned in a second at most, unless one step is more (kernel/sched/fair.c)
# In one slice, which is 100 s or more of it: by then all is marked, and no page faults twice in a slice.
MOST_STEPS = 1024


@njit(cache=True)
def mark_pages(
    mark_ms: I32,
    page: U32,
    place: U8,
    lower: Bool,
    cursor: int,
    span: int,
    now_ms: int,
) -> tuple[int, int]:
    """Mark the unmarked lower-tier pages among the `span` pages from `page[cursor]` on, wrapping around at the end.

    mark_ms int32[pages] is changed in place: the time of the mark in kernel ms, `UNMARKED` or `UNREACHED`. A page that
            is still marked keeps its older time, because change_pte_range() skips PTEs that are PROT_NONE already.
    page    uint32[own]  the pages of the address space, in the order of addresses
    Returns (next cursor, pages marked).
    """
    marked = 0
    for _ in range(min(span, len(page))):
        own = page[cursor]
        node = place[own]
        if node != NOWHERE and lower[node] and mark_ms[own] == UNMARKED:
            mark_ms[own] = now_ms
            marked += 1
        cursor += 1
        if cursor == len(page):
            cursor = 0
    return cursor, marked


@njit(cache=True)
def note_scan(history: U8, scans: U32, mark_ms: I32, page: U32, place: U8, cursor: int, span: int) -> None:
    """A scan comes to the `span` pages from `page[cursor]` on: what is unmarked was accessed since the last one.

    history  uint8[pages]   shifted, with whether the page was accessed as its lowest bit
    scans    uint32[pages]  counted up
    """
    for step in range(min(span, len(page))):
        own = page[(cursor + step) % len(page)]
        if place[own] != NOWHERE and mark_ms[own] != UNREACHED:
            history[own] = history[own] << 1 | (mark_ms[own] == UNMARKED)
            scans[own] += 1


@njit(cache=True)
def resident(page: U32, place: U8) -> int:
    """How many of these pages are on a node."""
    found = 0
    for own in page:
        found += place[own] != NOWHERE
    return found


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """What the scanners of all address spaces have in common; times and sizes are the kernel's.

    threads  of each process
    others   as in `HintFaults`; flush_ns with its interrupts, for one page of a group
    """

    page_bytes: int
    group_pages: float
    threads: float
    scan_bytes: int
    min_ms: float
    max_ms: float
    empty_span: int
    mark_ns: float
    flush_ns: float
    backoff: float


class NumaScanner:
    """The scanner of one address space.

    updates    pages marked so far
    period_ms  time between the last step and the next
    next_ms    when the next step is due
    noted      arrays of the whole program for `note_scan`, history and scans; None: nobody asks for them
    faulted    whether a page faulted since the last step; True at first, so that the first period is not doubled
    """

    def __init__(self, page: U32, cursor: int, begins_ms: float, settings: ScanSettings) -> None:
        self.page, self.cursor = page, cursor
        self.next_ms, self.period_ms = begins_ms, settings.min_ms
        self.faulted = True
        self.noted: tuple[U8, U32] | None = None
        self.updates = 0
        self._settings = settings
        self._granted = Carry()
        self._step_pages = settings.scan_bytes / settings.group_pages / settings.page_bytes

    def scan_until(self, now_ms: float, mark_ms: I32, place: U8, lower: Bool) -> float:
        """Take the scan steps that are due by now; returns their application time in ns."""
        scan = self._settings
        factor = 0.5 if self.faulted else 2.0
        least_ms, most_ms = self.periods(resident(self.page, place))
        self.period_ms = min(max(self.period_ms * factor, least_ms), most_ms)
        self.faulted = False
        cost_ns, steps = 0.0, 0
        while self.next_ms <= now_ms:
            if steps == MOST_STEPS:
                self.next_ms = now_ms + self.period_ms
                break
            steps += 1
            marked = self.step(int(self.next_ms), mark_ms, place, lower)
            step_ns = scan.mark_ns * marked
            cost_ns += step_ns + (scan.flush_ns if marked else 0.0)
            away_ms = scan.backoff * step_ns * 1e-6 * scan.group_pages
            self.next_ms += self.period_ms + away_ms / scan.threads
        return cost_ns

    def periods(self, resident_pages: int) -> tuple[float, float]:
        """The shortest and the longest time between two steps, kernel ms: task_scan_min() and task_scan_max()."""
        scan = self._settings
        steps = max(1, math.ceil(resident_pages * scan.page_bytes * scan.group_pages / scan.scan_bytes))
        floor_ms = 1000.0 / max(1, MAX_SCAN_WINDOW // scan.scan_bytes)
        least_ms = max(floor_ms, scan.min_ms / steps)
        return least_ms, max(least_ms, scan.max_ms / steps)

    def step(self, at_ms: int, mark_ms: I32, place: U8, lower: Bool) -> int:
        """One scan step; returns the pages marked."""
        span = self._granted.whole(self._step_pages)
        marked = 0
        for _ in range(self._settings.empty_span):
            if self.noted is not None:
                note_scan(*self.noted, mark_ms, self.page, place, self.cursor, span)
            self.cursor, marked = mark_pages(mark_ms, self.page, place, lower, self.cursor, span, at_ms)
            if marked or span >= len(self.page):
                break
        self.updates += marked
        return int(marked)
