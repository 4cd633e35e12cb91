"""NUMA hint faults as `kernel.numa_balancing=2` makes them (kernel/sched/fair.c, mm/mprotect.c), simulated.

The scanner runs in the application's own context. In every scan period it makes the next 256 MiB of the address space
PROT_NONE, except for pages of the top tier. The sysctls give the time of a pass over the whole process, so the period
of a step follows from the resident memory, but is at least 100 ms (task_scan_min(), Linux 6.17): a pass over 100 GiB
takes 40 s. The next touch of such a page faults. The fault reports the page, the
accessing node and the time since the scan. Constants: FACTS sections 4 and 8.

Simplifications: one scanner serves the whole index space, where the kernel has one for each address space. Only that
the scanners of several `processes` come to their memory at different times is simulated. Inside a slice a page faults
at most once. A page marked inside a slice can fault from the next slice on.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numba import njit

from pghot.arrays import I16, I32, NOWHERE, U8, U32, Bool
from pghot.carry import Carry
from pghot.engine.accesses import Accesses, Mechanism, Sees, no_accesses
from pghot.parameters import MOST_NS, check_number
from pghot.sim.sources.simulated_source import Report, SliceView, SourceSettings
from pghot.ties import GOLDEN_RATIO, order_from

UNMARKED = -1
UNREACHED = -2  # unmarked, in a mapping that no scan has reached
MAX_SCAN_WINDOW = (
    2560 << 20
)  # bytes scanned in a second at most, unless one step is more (kernel/sched/fair.c)
MOST_PROCESSES = 1 << 16
# In one slice, which is 100 s or more of it: by then all is marked, and no page faults twice in a slice.
MOST_STEPS = 1024
MOST_MAPPINGS = 1 << 16  # vm.max_map_count
_HASH = (
    2654435761  # Knuth's multiplicative hash: spreads the faults of shared pages over their accessing nodes
)


class Faults(NamedTuple):
    """Arrays for the faults of a slice: the page, the accessing node, and the ms since the page was marked."""

    page: U32
    node: I16
    latency_ms: U32

    @classmethod
    def sized(cls, rows: int) -> Faults:
        return cls(np.empty(rows, np.uint32), np.empty(rows, np.int16), np.empty(rows, np.uint32))


@njit(cache=True)
def mark_pages(
    mark_ms: I32,
    place: U8,
    lower: Bool,
    cursor: int,
    span: int,
    now_ms: int,
) -> tuple[int, int]:
    """Mark the unmarked lower-tier pages among `span` pages from `cursor` on, wrapping around at the end.

    mark_ms int32[pages] is changed in place: the time of the mark in kernel ms, `UNMARKED` or `UNREACHED`. A page that
    is still marked keeps its older time, because change_pte_range() skips PTEs that are PROT_NONE already.
    Returns (next cursor, pages marked).
    """
    pages = len(place)
    marked = 0
    for _ in range(min(span, pages)):
        node = place[cursor]
        if node != NOWHERE and lower[node] and mark_ms[cursor] == UNMARKED:
            mark_ms[cursor] = now_ms
            marked += 1
        cursor += 1
        if cursor == pages:
            cursor = 0
    return cursor, marked


@njit(cache=True)
def resident(place: U8) -> int:
    """How many pages are on a node."""
    found = 0
    for node in place:
        found += node != NOWHERE
    return found


@njit(cache=True)
def take_faults(
    page: U32,
    touches: U32,
    node: I16,
    mark_ms: I32,
    place: U8,
    lower: Bool,
    start_ms: float,
    end_ms: float,
    out_page: U32,
    out_node: I16,
    out_latency_ms: U32,
) -> int:
    """Write one fault for each touched page that is marked to the out arrays, and clear the marks; returns how many.

    The first of n touches spread evenly over a slice comes, on average, at `start + length / (n + 1)`. That is the
    fault's time. If several nodes access the page, one of them faults, chosen in proportion to their touches. A marked
    page that has left the lower tier loses its mark without a fault: remove_migration_pte() restores the mapping's
    permissions.
    """
    faults = 0
    first = 0
    rows = len(page)
    while first < rows:
        p = page[first]
        last = first + 1
        while last < rows and page[last] == p:
            last += 1
        if mark_ms[p] > UNMARKED:
            total = np.int64(0)
            for row in range(first, last):
                total += touches[row]
            if total > 0:
                home = place[p]
                if home != NOWHERE and lower[home]:
                    pick = ((np.int64(p) + mark_ms[p]) * _HASH >> 8) % total
                    row = first
                    while pick >= touches[row]:
                        pick -= touches[row]
                        row += 1
                    fault_ms = start_ms + (end_ms - start_ms) / (total + 1)
                    out_page[faults] = p
                    out_node[faults] = node[row]
                    out_latency_ms[faults] = max(0, int(fault_ms - mark_ms[p]))
                    faults += 1
                mark_ms[p] = UNMARKED
        first = last
    return faults


class HintFaults:
    """The hint-fault source of the lab.

    scan_bytes      bytes of address space in one scan step
    scan_delay_ms   kernel ms until the first step
    period_min_ms, period_max_ms  kernel ms of a pass over the resident memory; after a step without a fault the period
                    doubles, up to the maximum; after one with faults it halves, down to the minimum
    empty_span      a step skips parts without an unmarked lower-tier page, up to this many times its size
                    (`virtpages` of task_numa_work())
    fault_ns        application time of one fault (FACTS 8: 1..1.5 us, est.)
    mark_ns         application time to mark one page (FACTS 8)
    flush_ns        application time of the TLB flush after a step ...
    interrupt_ns    ... and of the interrupt that it costs each other thread (as in `sim.machine.costs`)
    processes       that share the pages, each an equal part in a row
    idle_mappings   mappings of each process that the scanner looks at before the one with its pages, one every
                    `scan_delay_ms`: so it goes for a process that was scanned before and whose memory came down since
                    (FACTS 10). Where its scanner stood differs evenly from process to process
    every_tier      pages of the top tier are marked too, as patches have it that also move pages down at a fault. Here
                    a page that moves keeps its mark, where the kernel's loses it
    backoff         after a step its thread does not scan for this many times the step's cost: 32 caps it at about
                    3 % of a CPU. The other threads may
    """

    name = "hintfaults"
    summary = "NUMA hint faults, mode 2: page, node and latency; paid by the application"
    mechanism: Mechanism = "hint fault"
    live = "faults"
    # The live source sets both periods to 200 ms, or less for programs of many mappings, and smaller steps. A fault
    # also writes a record to a perf ring (100 ns, est.).
    live_options: ClassVar[dict[str, Any]] = {
        "scan_bytes": 64 << 20,
        "period_min_ms": 200.0,
        "period_max_ms": 200.0,
        "fault_ns": 1300.0,
    }
    every_tier_option = "every_tier"
    inline = True
    released = True
    sees: Sees = "lower"
    clairvoyant = False

    def __init__(
        self,
        settings: SourceSettings,
        *,
        scan_bytes: int = 256 << 20,
        scan_delay_ms: float = 1000.0,
        period_min_ms: float = 1000.0,
        period_max_ms: float = 60000.0,
        empty_span: int = 8,
        fault_ns: float = 1200.0,
        mark_ns: float = 44.0,
        flush_ns: float = 4000.0,
        interrupt_ns: float = 1000.0,
        processes: int = 1,
        idle_mappings: int = 0,
        backoff: float = 32.0,
        every_tier: bool = False,
    ) -> None:
        check_number(self.name, "scan_bytes", scan_bytes, 4096)
        check_number(self.name, "scan_delay_ms", scan_delay_ms, 0)
        check_number(self.name, "period_min_ms", period_min_ms, 1)
        check_number(self.name, "period_max_ms", period_max_ms, period_min_ms)
        check_number(self.name, "empty_span", empty_span, 1, 1024)
        check_number(self.name, "fault_ns", fault_ns, 0, MOST_NS)
        check_number(self.name, "mark_ns", mark_ns, 0, MOST_NS)
        check_number(self.name, "flush_ns", flush_ns, 0, MOST_NS)
        check_number(self.name, "interrupt_ns", interrupt_ns, 0, MOST_NS)
        check_number(self.name, "processes", processes, 1, MOST_PROCESSES)
        check_number(self.name, "idle_mappings", idle_mappings, 0, MOST_MAPPINGS)
        check_number(self.name, "backoff", backoff, 0)
        self._step_pages = scan_bytes / settings.group_pages / settings.page_bytes
        self._page_bytes, self._threads = settings.page_bytes, settings.threads
        self._flush_ns = (flush_ns + interrupt_ns * settings.threads) / settings.group_pages
        self._group_pages = settings.group_pages
        self._pages = settings.pages
        self._scan_bytes = scan_bytes
        self._delay_ms, self._min_ms, self._max_ms = scan_delay_ms, period_min_ms, period_max_ms
        self._empty_span = empty_span
        self._fault_ns, self._mark_ns, self._backoff = fault_ns, mark_ns, backoff
        self._every_tier = every_tier
        self.sees = "any" if every_tier else "lower"
        self._mark_ms = np.full(settings.pages, UNREACHED if idle_mappings else UNMARKED, np.int32)
        # The golden ratio spreads any number of processes evenly, and those of each node as well.
        self._reached_ms = idle_mappings * scan_delay_ms * (np.arange(1, processes + 1) * GOLDEN_RATIO % 1)
        self._starts = np.linspace(0, settings.pages, processes + 1).astype(np.int64)
        self._unreached = idle_mappings > 0
        self._cursor = self._first_page = settings.first_page
        self._granted = Carry()
        self._period_ms = period_min_ms
        self._next_ms = self._began_ms = -1.0
        self._faulted = True  # since the last step; True so that the first period is not doubled
        self._faults = 0
        self._updates = 0
        self._found = Faults.sized(settings.pages)  # a page faults at most once in a slice

    def observe(self, view: SliceView) -> Report:
        start_ms = view.now_ms - view.dt_ns * 1e-6 * self._group_pages
        if self._next_ms < 0:
            self._began_ms = start_ms + self._delay_ms
            self._next_ms = self._began_ms
        found = self._found
        faults = take_faults(
            view.page, view.touches, view.node, self._mark_ms, view.place, self._marked_nodes(view),
            start_ms, view.now_ms, *found,
        )  # fmt: skip
        app_ns = faults * self._fault_ns
        self._faulted = self._faulted or faults > 0
        if self._unreached:
            self._reach(view.now_ms - self._began_ms)
        if self._next_ms <= view.now_ms:
            app_ns += self._scan_until(view)
        if not faults:
            return Report(no_accesses(int(view.now_ms)), app_ns)
        self._faults += faults
        order = order_from(found.page[:faults], self._first_page)
        seen = Accesses(
            found.page[order],
            found.node[order],
            np.ones(faults, np.uint32),
            int(view.now_ms),
            hint_fault=True,
            latency_ms=found.latency_ms[order],
        )
        return Report(seen, app_ns)

    def _marked_nodes(self, view: SliceView) -> Bool:
        """bool[nodes]: whose pages are marked."""
        return np.ones_like(view.lower) if self._every_tier else view.lower

    def _reach(self, scanned_ms: float) -> None:
        """Let the scans reach the mappings whose turn has come, so many ms after the first step."""
        for process in np.flatnonzero(self._reached_ms <= scanned_ms):
            own = self._mark_ms[self._starts[process] : self._starts[process + 1]]
            own[own == UNREACHED] = UNMARKED
        self._reached_ms[self._reached_ms <= scanned_ms] = np.inf
        self._unreached = bool(np.isfinite(self._reached_ms).any())

    def _scan_until(self, view: SliceView) -> float:
        """Take the scan steps that are due in this slice; returns their application time in ns."""
        factor = 0.5 if self._faulted else 2.0
        least_ms, most_ms = self._periods(resident(view.place))
        self._period_ms = min(max(self._period_ms * factor, least_ms), most_ms)
        self._faulted = False
        cost_ns, steps = 0.0, 0
        while self._next_ms <= view.now_ms:
            if steps == MOST_STEPS:
                self._next_ms = view.now_ms + self._period_ms
                break
            steps += 1
            marked = self._step(view, int(self._next_ms))
            step_ns = self._mark_ns * marked
            cost_ns += step_ns + (self._flush_ns if marked else 0.0)
            away_ms = self._backoff * step_ns * 1e-6 * self._group_pages
            self._next_ms += self._period_ms + away_ms / self._threads
        return cost_ns

    def _periods(self, resident_pages: int) -> tuple[float, float]:
        """The shortest and the longest time between two steps, kernel ms: task_scan_min() and task_scan_max()."""
        resident = resident_pages * self._page_bytes * self._group_pages
        steps = max(1, math.ceil(resident / self._scan_bytes))
        floor_ms = 1000.0 / max(1, MAX_SCAN_WINDOW // self._scan_bytes)
        least_ms = max(floor_ms, self._min_ms / steps)
        return least_ms, max(least_ms, self._max_ms / steps)

    def _step(self, view: SliceView, at_ms: int) -> int:
        """One scan step; returns the pages marked."""
        span = self._granted.whole(self._step_pages)
        marked = 0
        for _ in range(self._empty_span):
            self._cursor, marked = mark_pages(
                self._mark_ms, view.place, self._marked_nodes(view), self._cursor, span, at_ms
            )
            if marked or span >= self._pages:
                break
        self._updates += marked
        return int(marked)

    def sampling(self) -> str:
        mib = self._scan_bytes / (1 << 20)
        return (
            f"{mib:.4g} MiB of address space marked at a time, a pass in {self._min_ms / 1e3:g} to "
            f"{self._max_ms / 1e3:g} s but at most 2.5 GiB a second; one fault for each marked page"
        )

    def counters(self) -> dict[str, int]:
        return {"numa_pte_updates": self._updates, "numa_hint_faults": self._faults}

    def tracker_bytes(self) -> int:
        """0: the mark is in the PTE, and its time is in page flags that exist anyway."""
        return 0
