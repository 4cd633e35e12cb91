"""What the two sampling sources have in common: samples of cache misses, through a ring on each CPU.

The rings are drained at the end of each slice, and every 10 kernel ms in slices that are longer. Samples that do not
fit are lost and counted; their interrupts have been paid for by then.

A page stands for K that are alike, of which the samples of one are simulated. So the rings hold a K-th of their
entries. Where the policy counts larger units (2 MiB), the samples of one whole unit are simulated.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from pghot.arrays import U8, U32, Bool
from pghot.carry import Carry
from pghot.engine.accesses import Accesses, Mechanism, Sees, no_accesses
from pghot.engine.engine import total
from pghot.jit import njit
from pghot.parameters import MOST_NS, check_number
from pghot.policies.live_rules import INTERVAL_MS
from pghot.sim.sources.sampling import Sampler, keep_evenly
from pghot.sim.sources.simulated_source import Report, SliceView, SourceSettings

SAMPLE_BYTES = 48  # addresses (2), node, latency, time and cpu of one ring entry (est.)


@njit(cache=True)
def count_useful(page: U32, count: U32, place: U8, lower: Bool) -> int:
    """How many samples are of pages in the lower tiers. page, count: uint32[K], a page and its samples; all placed."""
    useful = np.int64(0)
    for row in range(len(page)):
        useful += np.int64(count[row]) * lower[place[page[row]]]
    return int(useful)


class MissSampler:
    """Samples of misses in all tiers, with page and accessing node.

    sample_ns     application time of each sample
    ring_entries  samples that one CPU's ring holds between two drains (FACTS 4: 150)
    drain_ms      longest time between two drains, kernel ms
    """

    name: str
    summary: str
    mechanism: Mechanism = "hardware"
    inline = True
    released = True
    sees: Sees = "any"
    clairvoyant = False
    live_options: ClassVar[dict[str, Any]] = {"ring_entries": 13_000, "drain_ms": INTERVAL_MS}

    def __init__(
        self, settings: SourceSettings, sampler: Sampler, sample_ns: float, ring_entries: int, drain_ms: float
    ) -> None:
        check_number(self.name, "sample_ns", sample_ns, 0, MOST_NS)
        check_number(self.name, "ring_entries", ring_entries, 1, 1 << 24)
        check_number(self.name, "drain_ms", drain_ms, 0.001)
        self._sampler, self._sample_ns = sampler, sample_ns
        self._ring_entries, self._drain_ms = ring_entries, drain_ms
        self._total = self._useful = self._dropped = 0
        self._threads, self._group_pages = settings.threads, settings.group_pages
        self._unit_pages = settings.unit_pages
        self._room = Carry()

    def observe(self, view: SliceView) -> Report:
        row, count = self._sampler.draw(view.misses)
        if not len(row):
            return Report(no_accesses(int(view.now_ms)), self._interrupts(view, 0) * self._sample_ns)
        taken = int(total(count))
        capacity = self._capacity(view.dt_ns)
        if taken > capacity:
            row, count = keep_evenly(row, count, capacity)
            self._dropped += taken - capacity
        page = view.page[row]
        self._total += taken
        self._useful += int(count_useful(page, count, view.place, view.lower))
        seen = Accesses(page, view.node[row], count, int(view.now_ms))
        return Report(seen, self._interrupts(view, taken / self._unit_pages) * self._sample_ns)

    def _capacity(self, dt_ns: float) -> int:
        """Samples of the simulated units that the rings hold in a slice of `dt_ns`."""
        drains = max(1, math.ceil(dt_ns * self._group_pages / (self._drain_ms * 1e6)))
        entries = self._ring_entries * self._threads * drains
        return self._room.whole(entries * self._unit_pages / self._group_pages)

    def _interrupts(self, view: SliceView, taken: float) -> float:
        """Interrupts (or microcode assists) that the slice's samples cost."""
        return taken

    def counters(self) -> dict[str, int]:
        """`hwhint_useful_events` counts the delivered samples of lower-tier pages: only those can be promoted."""
        counts = {
            "hwhint_total_events": self._total,
            "hwhint_useful_events": self._useful,
            "hwhint_dropped_events": self._dropped,
        }
        return {name: round(count / self._unit_pages) for name, count in counts.items()}

    def tracker_bytes(self) -> int:
        return round(self._ring_entries * SAMPLE_BYTES * self._threads / self._group_pages)
