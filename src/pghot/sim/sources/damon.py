"""DAMON of a program's address space (mm/damon/core.c, vaddr.c), simulated.

Every 5 ms kdamond looks at one page of each region, chosen at random: was it accessed since it was chosen 5 ms before?
After 100 ms the count of these hits stands for the whole region. Then neighbours whose counts differ by a tenth of the
largest or less are merged, and each region is split at a random place into two, so that differences inside it can
show; into three while their number stays the same and small. Defaults of the kernel (FACTS 4): 10 to 1000 regions.

Simplifications: the touches of a page are spread at random over a slice. Pages that lie beside each other in the index
space are neighbours. A slice of more than 10 aggregations has so many. While kdamond is busy with moving pages it looks
at nothing. How old a region is, it tells to nobody: who wants that counts it.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import I32, I64
from pghot.engine.accesses import Accesses, Mechanism, Sees, no_accesses
from pghot.jit import njit
from pghot.parameters import MOST_NS, check_number
from pghot.sim.sources.simulated_source import Report, SliceView, SourceSettings
from pghot.units import format_number

MOST_AGGREGATIONS = 10  # in one slice
REGION_BYTES = 64  # struct damon_region (est.)


@njit(cache=True)
def merge_regions(start: I64, hits: I32, regions: int, threshold: int, most_pages: int) -> int:
    """Merge neighbours whose hits differ by at most `threshold`, up to `most_pages`; returns how many regions are left.

    start  int64[N + 1]  the first page of each region, and the end of the last; updated
    hits   int32[N]      updated: that of a merged region is the mean by size, rounded down
    """
    kept = 0
    for region in range(1, regions):
        first, middle, end = start[kept], start[region], start[region + 1]
        if abs(hits[kept] - hits[region]) <= threshold and end - first <= most_pages:
            hits[kept] = (hits[kept] * (middle - first) + hits[region] * (end - middle)) // (end - first)
        else:
            kept += 1
            start[kept], hits[kept] = middle, hits[region]
        start[kept + 1] = end
    return kept + 1


@njit(cache=True)
def split_regions(start: I64, regions: int, parts: int, tenths: I64, out: I64) -> int:
    """Split each region into up to `parts`; returns how many there are.

    tenths  int64[regions * (parts - 1)]  1 to 9: where a region, and what is left of it, is cut
    out     int64[regions * parts + 1]    set: the first page of each, and the end of the last
    """
    found = 0
    for region in range(regions):
        first, end = start[region], start[region + 1]
        out[found] = first
        found += 1
        for part in range(parts - 1):
            cut = first + tenths[region * (parts - 1) + part] * (end - first) // 10
            if first < cut < end:
                out[found] = first = cut
                found += 1
    out[found] = start[regions]
    return found


class Damon:
    """The DAMON source of the lab.

    sample_ms, aggregate_ms   kernel ms between two looks, and between two reports
    min_regions, max_regions  how many regions there are
    check_ns  kernel-thread time for a look at a page: two walks to it (est.)
    set_ns    application time for each bit that was cleared, as in the A-bit scan (est.)
    """

    name = "damon"
    summary = "DAMON: one random page of each region every 5 ms; regions, not pages, paid by a kernel thread"
    mechanism: Mechanism = "page-table scan"
    live = "damon"
    inline = False
    released = True
    sees: Sees = "regions"
    clairvoyant = False

    def __init__(
        self,
        settings: SourceSettings,
        *,
        sample_ms: float = 5.0,
        aggregate_ms: float = 100.0,
        min_regions: int = 10,
        max_regions: int = 1000,
        check_ns: float = 200.0,
        set_ns: float = 200.0,
    ) -> None:
        check_number(self.name, "sample_ms", sample_ms, 0.1)
        check_number(self.name, "aggregate_ms", aggregate_ms, sample_ms)
        check_number(self.name, "min_regions", min_regions, 3, 1 << 20)
        check_number(self.name, "max_regions", max_regions, min_regions, 1 << 20)
        check_number(self.name, "check_ns", check_ns, 0, MOST_NS)
        check_number(self.name, "set_ns", set_ns, 0, MOST_NS)
        self._sample_ms, self._max_regions = sample_ms, max_regions
        self._samples = max(1, round(aggregate_ms / sample_ms))  # in an aggregation
        self._check_ns, self._set_ns = check_ns, set_ns
        self._group_pages, self._pages = settings.group_pages, settings.pages
        self._rng = np.random.default_rng(settings.seed)
        self._most_pages = max(1, settings.pages // min_regions)
        self.start = np.unique(np.linspace(0, settings.pages, min_regions + 1).astype(np.int64))
        self.hits = np.zeros(len(self.start) - 1, np.int32)
        self._before = 0  # regions after the last aggregation

    def observe(self, view: SliceView) -> Report:
        now = int(view.now_ms)
        span_ms = view.dt_ns * 1e-6 * self._group_pages
        first, last = (int(at_ms // self._sample_ms) for at_ms in (view.now_ms - span_ms, view.now_ms))
        if view.busy or first == last:
            return Report(no_accesses(now))
        first = max(first, last - MOST_AGGREGATIONS * self._samples)
        touches = np.bincount(view.page, view.touches, self._pages)
        missed = 1 - min(
            1.0, self._sample_ms / max(span_ms, 1e-9)
        )  # the chance that a touch falls before the look
        seen, looks, hits = no_accesses(now), 0, 0
        for sample in range(first + 1, last + 1):
            size = np.diff(self.start)
            page = self.start[:-1] + (self._rng.random(len(size)) * size).astype(np.int64)
            hit = self._rng.random(len(size)) >= missed ** touches[page]
            self.hits += hit
            looks, hits = looks + len(size), hits + int(np.count_nonzero(hit))
            if sample % self._samples == 0:
                seen = self._aggregate(now)
        return Report(
            seen,
            app_ns=hits * self._set_ns / self._group_pages,
            kernel_ns=looks * self._check_ns / self._group_pages,
        )

    def _aggregate(self, now: int) -> Accesses:
        """Merge, report, and split."""
        regions, threshold = len(self.hits), int(self.hits.max()) // 10
        while True:
            regions = merge_regions(self.start, self.hits, regions, threshold, self._most_pages)
            if regions <= self._max_regions or threshold > self._samples:
                break
            threshold = max(1, 2 * threshold)
        self.start, self.hits = self.start[: regions + 1], self.hits[:regions]
        count = np.repeat(self.hits, np.diff(self.start)).astype(np.uint32)
        page = np.flatnonzero(count).astype(np.uint32)
        seen = Accesses(page, np.full(len(page), -1, np.int16), count[page], now)
        if regions <= self._max_regions // 2:
            parts = 3 if regions == self._before and regions < self._max_regions // 3 else 2
            out = np.empty(regions * parts + 1, np.int64)
            tenths = self._rng.integers(1, 10, regions * (parts - 1))
            found = split_regions(self.start, regions, parts, tenths, out)
            self.start = out[: found + 1]
        self._before = regions
        self.hits = np.zeros(len(self.start) - 1, np.int32)
        return seen

    def sampling(self) -> str:
        return (
            f"one page of each region every {format_number(self._sample_ms)} ms, at most {self._max_regions} regions, "
            f"reported every {format_number(self._samples * self._sample_ms)} ms"
        )

    def counters(self) -> dict[str, int]:
        return {}

    def tracker_bytes(self) -> int:
        return round(self._max_regions * REGION_BYTES / self._group_pages)
