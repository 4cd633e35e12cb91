"""DAMON as a live source: adaptive regions with the number of samples in which each was accessed.

Coarse by design: all pages of a region share one count, so cold neighbours of hot pages look as warm as they. Which
program a region is of is told by where it lies: forked children with the same layout share their counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pghot.errors import PghotError
from pghot.kernel.damon_sysfs import NUMBER, STATE, Intervals, Kdamond, Regions, damon_need
from pghot.kernel.needs import Need, require
from pghot.kernel.spaces import SetKnob, Space, Watched
from pghot.kernel.sysroot import SysRoot
from pghot.sources.live import Sightings, sightings_of
from pghot.units import PAGE_BYTES


class Damon:
    """Options: sample_us, aggregate_us, min_regions, max_regions  as in DAMON's monitoring_attrs;
    min_accesses  of a region in one aggregation, to be reported at all.
    """

    name = "damon"
    summary = "DAMON of the programs' address spaces: regions, not pages; root"
    weight = 1
    sees = "any"

    def __init__(
        self,
        root: SysRoot,
        sample_us: int = 5_000,
        aggregate_us: int = 100_000,
        min_regions: int = 10,
        max_regions: int = 1000,
        min_accesses: int = 1,
    ) -> None:
        self._root = root
        self._intervals = Intervals(sample_us, aggregate_us, 1_000_000, min_regions, max_regions)
        self._min_accesses = min_accesses
        self._kdamond = Kdamond(root, "vaddr", self._intervals)
        self._spaces: tuple[Space, ...] = ()
        self._set_knob: SetKnob | None = None
        self._due_ms = 0.0
        self._effort = 1.0
        self._counts = {"damon_aggregations": 0, "damon_regions": 0, "damon_read_failures": 0}

    def needs(self) -> list[Need]:
        return [damon_need(self._root, "vaddr")]

    def start(self, watched: Watched, set_knob: SetKnob) -> None:
        require(self.name, self.needs())
        # Through the journal: a killed pghot must not leave a kdamond behind. Undone in reverse order: off, then gone.
        set_knob(NUMBER, "1")
        self._set_knob = set_knob
        self._kdamond.configure()
        self._spaces = watched.spaces
        self._kdamond.watch(watched.pids)
        if self._spaces:
            set_knob(STATE, "on")

    def watch(self, watched: Watched) -> None:
        """DAMON follows changed mappings by itself; only other processes matter."""
        before = [space.pid for space in self._spaces]
        self._spaces = watched.spaces
        if self._set_knob is None or list(watched.pids) == before or not watched.spaces:
            return
        self._kdamond.watch(watched.pids)
        if before:
            self._kdamond.commit()
        else:
            self._set_knob(STATE, "on")

    def poll(self, now_ms: int) -> Sequence[Sightings]:
        if now_ms < self._due_ms or not self._spaces:
            return []
        self._due_ms = now_ms + self._intervals.aggregate_us / 1000 / self._effort
        try:
            found = self._kdamond.regions()
        except (OSError, PghotError):
            # A kdamond ends by itself when its last target does; the next refresh notices that.
            self._counts["damon_read_failures"] += 1
            return []
        self._counts["damon_aggregations"] += 1
        return [seen for regions in found for seen in self._sightings(regions)]

    def _sightings(self, regions: Regions) -> list[Sightings]:
        """All pages of the accessed regions. Which target a region is of is told by where it lies."""
        self._counts["damon_regions"] += len(regions.start)
        hot = regions.accesses >= self._min_accesses
        found = []
        for space in self._spaces:
            address, count = pages_in(regions.start[hot], regions.end[hot], regions.accesses[hot], space)
            if len(address):
                found.append(sightings_of(space.pid, address, count))
        return found

    def set_effort(self, share: float) -> None:
        self._effort = share

    def sampling(self) -> str:
        times = self._intervals
        return (
            f"one page of each region every {times.sample_us / 1000:g} ms, {times.min_regions} to "
            f"{times.max_regions} regions, read every {times.aggregate_us / 1000 / self._effort:g} ms"
        )

    def counters(self) -> dict[str, int]:
        return dict(self._counts)

    def stop(self) -> None:
        """The knobs are put back by whoever set them: off, then gone."""
        self._spaces = ()


def pages_in(
    start: npt.NDArray[np.uint64], end: npt.NDArray[np.uint64], count: npt.NDArray[np.uint32], space: Space
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
    """Addresses (uint64[K]) and counts (uint32[K]) of the pages of regions that lie in a space's movable ranges."""
    addresses, counts = [], []
    for low, high, accesses in zip(start.tolist(), end.tolist(), count.tolist(), strict=True):
        first = int(np.searchsorted(space.end, low, side="right"))
        last = int(np.searchsorted(space.start, high, side="left"))
        for i in range(first, last):
            begin, stop = max(low, int(space.start[i])), min(high, int(space.end[i]))
            begin -= begin % PAGE_BYTES
            pages = max(0, -(-(stop - begin) // PAGE_BYTES))
            addresses.append(np.uint64(begin) + np.arange(pages, dtype=np.uint64) * np.uint64(PAGE_BYTES))
            counts.append(np.full(pages, accesses, np.uint32))
    if not addresses:
        return np.empty(0, np.uint64), np.empty(0, np.uint32)
    return np.concatenate(addresses), np.concatenate(counts)
