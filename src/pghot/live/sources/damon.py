"""DAMON as a live source: adaptive regions with the number of samples in which each was accessed.

It is coarse by design. A count belongs to a whole region, so all pages of the region are reported with it, including
the cold neighbours of hot ones. The count estimates the share of the region's pages that are in use: 5 of 20 samples
mean a quarter of the pages, but not which ones. `min_accesses` sets the count from which a region is reported in spite
of its cold pages. `min_age` sets how long the region must have been about that hot. The defaults report everything
that was accessed. On one program (64 MiB, hot in runs of 64 KiB, after 20 s), the defaults of 1 and 0 reported all hot
and all cold pages. Half the samples and an age of 1 reported 0.71 of the hot and 0.02 of the cold pages.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pghot.arrays import U32, U64
from pghot.engine.accesses import Mechanism, Sees
from pghot.errors import PghotError, UsageError
from pghot.kernel.damon_records import Regions
from pghot.kernel.damon_sysfs import NUMBER, STATE, Intervals, Kdamond, damon_need
from pghot.kernel.damon_trace import RegionTrace, trace_need
from pghot.kernel.iomem import iomem_need, system_ram
from pghot.kernel.needs import Need, require
from pghot.kernel.pagemap import pfns
from pghot.kernel.perf_event import perf_need
from pghot.kernel.ranges import numbered
from pghot.kernel.shortage import ShortageError
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import SetKnob, Space, Watched
from pghot.live.sources.access_source import Sightings, sightings_of
from pghot.parameters import check_number
from pghot.units import PAGE_BYTES, format_number

_PAGE = np.uint64(PAGE_BYTES)
_NOTHING = (np.empty(0, np.uint64), np.empty(0, np.uint32))


class Damon:
    """The options.

    operations                "vaddr": the programs' address spaces; "paddr": all physical memory, of which only the
                              programs' pages are reported
    sample_us, aggregate_us   as in DAMON's monitoring_attrs
    min_regions, max_regions  the same, for each program
    min_accesses              a region is reported if this many samples of one aggregation found it in use
    min_age                   and if that has lasted for this many aggregations
    period_ms                 time between two reports, each of the newest aggregation
    """

    name = "damon"
    summary = "DAMON of the programs' address spaces or of all memory: regions, not pages; root"
    mechanism: Mechanism = "page-table scan"
    inline = False
    released = True
    weight = 1
    sees: Sees = "regions"
    only_reads = False

    def __init__(
        self,
        root: SysRoot,
        operations: str = "vaddr",
        sample_us: int = 5_000,
        aggregate_us: int = 100_000,
        min_regions: int = 10,
        max_regions: int = 1000,
        min_accesses: int = 1,
        min_age: int = 0,
        period_ms: int = 500,
    ) -> None:
        """Raises `UsageError` for options that DAMON would refuse."""
        if operations not in ("vaddr", "paddr"):
            raise UsageError(f"damon: unknown operations '{operations}'", "give vaddr or paddr")
        self._root, self._operations = root, operations
        # Of physical memory DAMON sees only what is on an LRU list (damon_get_folio, mm/damon/ops-common.c).
        self.sees_hugetlb = operations == "vaddr"
        self._intervals = Intervals(sample_us, aggregate_us, 1_000_000, min_regions, max_regions)
        self._min_accesses, self._min_age = max(1, min_accesses), min_age
        check_number(self.name, "period_ms", period_ms, 1)
        self._period_ms = period_ms
        self._kdamond = Kdamond(root, operations, self._intervals)
        self._trace: RegionTrace | None = None
        self._latest: dict[int, Regions] = {}
        self._spaces: tuple[Space, ...] = ()
        self._targets: list[int] = []
        self._set_knob: SetKnob | None = None
        self._due_ms = 0.0
        self._effort = 1.0
        self._lost = 0
        self._counts = dict.fromkeys(("damon_aggregations", "damon_regions", "damon_refused_targets"), 0)

    def needs(self) -> list[Need]:
        needs = [damon_need(self._root, self._operations), trace_need(self._root), perf_need(self._root)]
        if self._operations == "paddr" and not (iomem := iomem_need(self._root)).met:
            needs.append(iomem)
        return needs

    def start(self, watched: Watched, set_knob: SetKnob) -> None:
        require(self.name, self.needs())
        # Through the journal: a killed pghot must not leave a kdamond behind. Undo goes in reverse order: it turns the
        # kdamond off, then removes it.
        set_knob(NUMBER, "1")
        self._set_knob = set_knob
        self._kdamond.configure()
        self._spaces = watched.spaces
        if self._operations == "paddr":
            self._kdamond.watch_memory(system_ram(self._root))
            self._run(set_knob)
        else:
            self._retarget(set_knob)

    def watch(self, watched: Watched) -> None:
        """Only a changed list of processes matters: DAMON follows changed mappings and execs by itself."""
        self._spaces = watched.spaces
        if self._set_knob is None or self._operations == "paddr":
            return
        try:
            self._retarget(self._set_knob)
        except ShortageError:
            raise
        except PghotError:
            # DAMON refuses a process that has just ended. The targets stay as they were until the next `watch`.
            self._counts["damon_refused_targets"] += 1

    def _retarget(self, set_knob: SetKnob) -> None:
        pids = [space.pid for space in self._spaces]
        if not pids:
            return
        running = self._kdamond.running
        if running and pids == self._targets:
            return
        self._kdamond.watch_processes(pids)
        if running:
            self._kdamond.commit()
            self._follow(pids)
        else:
            self._run(set_knob, pids)

    def _run(self, set_knob: SetKnob, pids: Sequence[int] = ()) -> None:
        set_knob(STATE, "on")
        self._follow(pids)

    def _follow(self, pids: Sequence[int]) -> None:
        """Read what the kdamond finds from now on; called when its thread or its targets have changed."""
        self._close()
        self._targets = list(pids)
        regions = self._intervals.max_regions * max(1, len(pids))
        self._trace = RegionTrace(self._root, self._kdamond.pid, regions)

    def poll(self, now_ms: int) -> Sequence[Sightings]:
        if self._trace is None:
            return []
        # At every poll, so that the ring does not fill up between two reports.
        self._latest |= {regions.target: regions for regions in self._trace.newest()}
        if now_ms < self._due_ms:
            return []
        self._due_ms = now_ms + self._period_ms / self._effort
        found: list[Sightings] = []
        for regions in self._latest.values():
            self._counts["damon_aggregations"] += 1
            self._counts["damon_regions"] += len(regions.start)
            found += self._sightings(regions)
        self._latest = {}
        return found

    def _sightings(self, regions: Regions) -> list[Sightings]:
        hot = (regions.accesses >= self._min_accesses) & (regions.age >= self._min_age)
        start, end, accesses = regions.start[hot], regions.end[hot], regions.accesses[hot]
        if self._operations == "paddr":
            pages = [(space, self._frames_in(start, end, accesses, space)) for space in self._spaces]
        else:
            pid = self._targets[regions.target] if regions.target < len(self._targets) else -1
            ours = [space for space in self._spaces if space.pid == pid]
            pages = [(space, pages_in(start, end, accesses, space)) for space in ours]
        return [sightings_of(space.pid, *each) for space, each in pages if len(each[0])]

    def _frames_in(self, start: U64, end: U64, count: U32, space: Space) -> tuple[U64, U32]:
        """Addresses and counts of a space's pages whose frames lie in regions of physical memory."""
        try:
            address, frame = pfns(self._root, space.pid, space.start, space.end)
        except OSError:
            return _NOTHING  # the process ended; the next `watch` leaves it out
        if len(start) == 0:
            return _NOTHING
        place = frame * np.uint64(PAGE_BYTES)
        region = np.searchsorted(start, place, side="right") - 1
        inside = (region >= 0) & (place < end[region])
        return address[inside], count[region[inside]]

    def set_effort(self, share: float) -> None:
        """Read less often. The kdamond's CPU time is not pghot's own."""
        self._effort = share

    def sampling(self) -> str:
        times = self._intervals
        return (
            f"one page of each region every {format_number(times.sample_us / 1000)} ms, {times.min_regions} to "
            f"{times.max_regions} regions, read every {format_number(self._period_ms / self._effort)} ms"
        )

    def degraded(self) -> list[str]:
        if self._trace is None or not self._spaces or self._kdamond.running:
            return []
        return [
            "the kdamond has ended while its programs run: another tool may have stopped it; start pghot anew"
        ]

    def counters(self) -> dict[str, int]:
        lost = self._lost + (self._trace.lost if self._trace else 0)
        return {**self._counts, "damon_lost_regions": lost}

    def stop(self) -> None:
        """Stop reading. `set_knob`'s owner puts the knobs back: the kdamond is turned off, then removed."""
        self._close()
        self._spaces = ()

    def _close(self) -> None:
        if self._trace is not None:
            self._lost += self._trace.lost
            self._trace.close()
            self._trace, self._latest = None, {}


def pages_in(start: U64, end: U64, count: U32, space: Space) -> tuple[U64, U32]:
    """Addresses (uint64[K]) and counts (uint32[K]) of those pages of the regions that are in a space's movable ranges.

    start, end, count  the regions, ascending and disjoint
    """
    first = np.searchsorted(space.end, start, side="right")
    last = np.searchsorted(space.start, end, side="left")
    region, nth = numbered(np.maximum(last - first, 0))
    within = first[region] + nth
    begin = np.maximum(start[region], space.start[within]) // _PAGE
    stop = -(-np.minimum(end[region], space.end[within]).astype(np.int64) // PAGE_BYTES)
    part, page = numbered(stop - begin.astype(np.int64))
    return (begin[part] + page.astype(np.uint64)) * _PAGE, count[region[part]]
