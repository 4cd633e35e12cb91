"""NUMA hint faults as `kernel.numa_balancing=2` makes them (kernel/sched/fair.c, mm/mprotect.c), simulated.

The scanner of each address space marks its pages (`numa_scanner.py`). The next touch of a marked page faults. The fault
reports the page, the accessing node and the time since the scan. Constants: FACTS sections 4 and 8.

Simplifications: memory that several processes share is scanned by the one whose region it is; the program's threads
belong to all processes alike. Inside a slice a page faults at most once. A page marked inside a slice can fault from
the next slice on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from pghot.arrays import I16, I32, NOWHERE, U8, U32, Bool
from pghot.engine.accesses import Accesses, Mechanism, Sees, no_accesses
from pghot.jit import njit
from pghot.parameters import MOST_NS, check_number
from pghot.sim.sources.numa_scanner import UNMARKED, UNREACHED, NumaScanner, ScanSettings
from pghot.sim.sources.simulated_source import Report, SliceView, SourceSettings
from pghot.ties import GOLDEN_RATIO, first_page, order_from
from pghot.units import format_number

MOST_PROCESSES = 1 << 16
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
        spaces = settings.spaces or (np.arange(settings.pages, dtype=np.uint32),)
        threads = max(1.0, settings.threads / len(spaces))
        self._group_pages = settings.group_pages
        self._scan = ScanSettings(
            page_bytes=settings.page_bytes,
            group_pages=settings.group_pages,
            threads=threads,
            scan_bytes=scan_bytes,
            min_ms=period_min_ms,
            max_ms=period_max_ms,
            empty_span=empty_span,
            mark_ns=mark_ns,
            flush_ns=(flush_ns + interrupt_ns * threads) / settings.group_pages,
            backoff=backoff,
        )
        self._delay_ms = scan_delay_ms
        self.scanners = [
            NumaScanner(page, first_page(settings.seed, len(page)), np.inf, self._scan) for page in spaces
        ]
        self._space = np.zeros(settings.pages, np.int64)
        for number, page in enumerate(spaces):
            self._space[page] = number
        self._fault_ns = fault_ns
        self._every_tier = every_tier
        # Whether each page was accessed between the last 8 scans, the last one in the lowest bit; all set at first. And
        # how many scans came to it. Kept where pages of every tier are marked, for patches that hook into the scanner.
        self.history = np.full(settings.pages, 0xFF, np.uint8)
        self.scans = np.zeros(settings.pages, np.uint32)
        for scanner in self.scanners if every_tier else ():
            scanner.noted = (self.history, self.scans)
        self.sees = "any" if every_tier else "lower"
        self._mark_ms = np.full(settings.pages, UNREACHED if idle_mappings else UNMARKED, np.int32)
        # The golden ratio spreads any number of processes evenly, and those of each node as well.
        self._reached_ms = idle_mappings * scan_delay_ms * (np.arange(1, processes + 1) * GOLDEN_RATIO % 1)
        self._starts = np.linspace(0, settings.pages, processes + 1).astype(np.int64)
        self._unreached = idle_mappings > 0
        self._first_page = settings.first_page
        self._began_ms = -1.0
        self._faults = 0
        self._found = Faults.sized(settings.pages)  # a page faults at most once in a slice

    def observe(self, view: SliceView) -> Report:
        start_ms = view.now_ms - view.dt_ns * 1e-6 * self._group_pages
        if self._began_ms < 0:
            self._began_ms = start_ms + self._delay_ms
            for scanner in self.scanners:
                scanner.next_ms = self._began_ms
        found, nodes = self._found, self._marked_nodes(view)
        faults = take_faults(
            view.page, view.touches, view.node, self._mark_ms, view.place, nodes,
            start_ms, view.now_ms, *found,
        )  # fmt: skip
        app_ns = faults * self._fault_ns
        for number in self._spaces_of(found.page[:faults]):
            self.scanners[number].faulted = True
        if self._unreached:
            self._reach(view.now_ms - self._began_ms)
        for scanner in self.scanners:
            if scanner.next_ms <= view.now_ms:
                app_ns += scanner.scan_until(view.now_ms, self._mark_ms, view.place, nodes)
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

    def _spaces_of(self, page: U32) -> Iterable[int]:
        """The address spaces of these pages."""
        if len(self.scanners) == 1:
            return range(min(1, len(page)))
        return [int(number) for number in np.unique(self._space[page])]

    def sampling(self) -> str:
        mib = self._scan.scan_bytes / (1 << 20)
        return (
            f"{format_number(mib, 4)} MiB of address space marked at a time, a pass in "
            f"{format_number(self._scan.min_ms / 1e3)} to {format_number(self._scan.max_ms / 1e3)} s but at most "
            "2.5 GiB a second; one fault for each marked page"
        )

    def counters(self) -> dict[str, int]:
        return {
            "numa_pte_updates": sum(scanner.updates for scanner in self.scanners),
            "numa_hint_faults": self._faults,
        }

    def tracker_bytes(self) -> int:
        """0: the mark is in the PTE, and its time is in page flags that exist anyway."""
        return 0
