"""PACT (ASPLOS 2026): promotes the pages for which cores wait longest, however often they are touched.

Every 20 ms it says of each sampled load from the slow tier how long it stalled a core: the latency of that tier times
its misses, over their memory-level parallelism and the samples taken (algorithm 1). A page's criticality is the sum
over its samples. Bins of equal width rank the pages, and a sampled page of the slow tier in the last of 20 is promoted.
The width is that of Freedman and Diaconis: twice the distance between the quartiles of 100 criticalities, a reservoir
of all that were counted, over the cube root of the number of pages (algorithm 3). It is doubled while pages wait for
promotion (halved where these are more than 1 / 0.7 of all pages, which cannot be). Up to 4096 pages go in 20 ms. The
kernel demotes as long as it has demoted fewer pages than PACT promoted, judged once a second (algorithm 2). Constants
and rules are those of its published runtime (src/config.h, binning.c, pact.c, balance.c); of the paper the abstract was
read.

All samples of 20 ms count alike: pages differ by how many they have, and by how parallel the misses were meanwhile.

Choices of ours: the latency is the idle one of each node, where the runtime has 771 cycles, those of its authors'
machine; misses that prefetchers follow stall nothing; a tracked page takes 128 bytes (est.). The runtime begins beside
a program that has its memory: there, demoted less promoted is what the fast tier has more free than at first. A run of
the lab begins with allocations, so the balance looks at free memory, from the first promotion on, and takes the high
watermark to be free at least. Where a slice is longer than 20 ms, all of it is one window.

Not modelled: the limits of its rings and of the tracked pages.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from pghot.arrays import F64, I64
from pghot.carry import Carry
from pghot.engine.accesses import Accesses, Source
from pghot.parameters import MOST, Knob, check_knobs
from pghot.policies.below_top import below_top
from pghot.policies.decisions import HeldBack, Moved
from pghot.sim.lab_world import LabWorld

WINDOW_MS = 20.0
BALANCE_MS = 1000.0
BIN_WIDTH = 1000.0  # until there are quartiles
RESERVOIR = 100
TH_SCALE = 0.7
MOST_STALL = 262_143  # of a sample: it has 18 bits
COOLING_SAMPLES = 200_000


def bin_width(criticality: F64, pages: float, waiting: float) -> float:
    """The width of a bin; 0 if the quartiles do not tell.

    criticality  float64[K]  of the reservoir
    pages, waiting  how many pages are tracked, and how many wait for promotion

    >>> bin_width(np.array([0.0, 1, 2, 3, 4, 5, 6, 7]), 8, 0), bin_width(np.array([0.0, 1, 2, 3, 4, 5, 6, 7]), 8, 1)
    (4.0, 8.0)
    """
    if len(criticality) < 4:
        return 0.0
    ordered = np.sort(criticality)
    q1, q3 = ordered[len(ordered) // 4], ordered[3 * len(ordered) // 4]
    width = float(2 * (q3 - q1) / np.cbrt(pages))
    if waiting:
        width = 2 * width if pages / waiting > TH_SCALE else width / 2
    return width


class Pact:
    """Criticality in bins; the last one is promoted.

    bins            a page of the last one, or beyond, is promoted
    promotions      pages in 20 ms at most
    demotion_margin pages that the kernel may demote beyond those promoted
    cooling         each criticality is multiplied by it after 200,000 samples
    """

    name = "pact"
    summary = (
        "PACT: stall for each page from PEBS samples and memory-level parallelism; the last bin is promoted"
    )
    kind = "mover"
    default_sources: tuple[str, ...] = ("pebs",)
    any_source = False
    runs_live = False
    awaits = "PACT's runtime"
    period_events = 400  # PACT_PEBS_SAMPLE_PERIOD

    def __init__(
        self,
        bins: Annotated[int, Knob(2, 1 << 20, 5, 100)] = 20,
        promotions: Annotated[int, Knob(1, MOST, 256, 65_536)] = 4096,
        demotion_margin: Annotated[int, Knob(0, MOST)] = 0,
        cooling: Annotated[float, Knob(0, 1, 0.1, 1)] = 1.0,
    ) -> None:
        check_knobs(self.name, type(self), locals())
        self.bins, self.promotions = bins, promotions
        self.demotion_margin, self.cooling = demotion_margin, cooling

    def start(self, world: LabWorld) -> None:
        world.machine.demotion_enabled = True
        self.width = BIN_WIDTH
        self.criticality = np.zeros(world.pages)
        self._tracked = np.zeros(world.pages, np.bool_)
        self._reservoir, self._seen = np.empty(0), 0  # and how many it was drawn from
        self._rng = np.random.default_rng(world.seed)
        self._page, self._samples = np.empty(0, np.uint32), np.zeros(world.pages, np.int64)
        self._queue, self._queued = np.empty(0, np.uint32), np.zeros(world.pages, np.bool_)
        self._granted = Carry()
        self._stall_ns = self._sampled = 0.0
        self._idle_ns = np.array([node.latency_ns for node in world.machine.topology.nodes])
        self._next_ms, self._last_ms = WINDOW_MS, 0.0
        self._judged_ms, self._free_at_first = BALANCE_MS, 0

    def observe(self, world: LabWorld, source: Source, accesses: Accesses) -> None:
        below = accesses.only(np.isin(accesses.page, below_top(world.machine, accesses.page)))
        np.add.at(self._samples, below.page, below.count)
        self._page = np.concatenate([self._page, below.page])

    def act(self, world: LabWorld) -> None:
        machine = world.machine
        waits = machine.timing.served[:, :, 3].sum(axis=0)
        self._stall_ns += float((waits * self._idle_ns)[machine.lower].sum())
        if world.now_ms >= self._next_ms:
            self._next_ms = world.now_ms + WINDOW_MS
            windows, self._last_ms = (world.now_ms - self._last_ms) / WINDOW_MS, world.now_ms
            self._attribute(world)
            self._promote(world, windows)
        if world.now_ms >= self._judged_ms:
            self._judged_ms = world.now_ms + BALANCE_MS
            self._balance(world)
        machine.balance()

    def _attribute(self, world: LabWorld) -> None:
        """Share the stall of the window among its samples, queue the critical pages, and set the width anew."""
        page = np.unique(self._page)
        samples, self._page = self._samples[page], self._page[:0]
        self._samples[page] = 0
        if len(page) == 0:
            world.decisions.rest(HeldBack.NOTHING_SEEN)
        else:
            stall = int(min(self._stall_ns / samples.sum(), MOST_STALL))
            self._draw(np.repeat(self.criticality[page], samples), samples, stall)
            self.criticality[page] += stall * samples
            self._tracked[page] = True
            self._cool(float(samples.sum()) * world.group_pages)
        self._stall_ns = 0.0
        page = below_top(world.machine, page)
        last = self.criticality[page] // self.width >= self.bins - 1
        world.decisions.hold(page[~last], HeldBack.THRESHOLD)
        fresh = page[last & ~self._queued[page]]
        self._queued[fresh] = True
        self._queue = np.concatenate([self._queue, fresh])
        tracked = np.count_nonzero(self._tracked) * world.group_pages
        self.width = bin_width(self._reservoir, tracked, len(self._queue) * world.group_pages) or self.width

    def _draw(self, before: F64, samples: I64, stall: int) -> None:
        """Offer the criticality of a page after each of its samples to the reservoir.

        before   float64[N]  of the page of each sample, before the window; the samples of a page are neighbours
        samples  int64[K]    samples of each page, K pages
        """
        nth = np.arange(len(before)) - np.repeat(np.cumsum(samples) - samples, samples) + 1
        value = before + stall * nth
        fills = min(len(value), RESERVOIR - len(self._reservoir))
        self._reservoir = np.concatenate([self._reservoir, value[:fills]])
        self._seen += fills
        place = self._rng.integers(0, self._seen + 1 + np.arange(len(value) - fills))
        self._seen += len(place)
        taken = place < RESERVOIR
        self._reservoir[place[taken]] = value[fills:][taken]

    def _cool(self, sampled: float) -> None:
        before, self._sampled = self._sampled, self._sampled + sampled
        if times := int(self._sampled // COOLING_SAMPLES - before // COOLING_SAMPLES):
            self.criticality = np.floor(self.criticality * self.cooling**times)

    def _promote(self, world: LabWorld, windows: float) -> None:
        """Promote from the queue. What finds no room leaves it, and comes back with its next sample."""
        machine = world.machine
        granted = self._granted.whole(self.promotions * windows / world.group_pages)
        budget = machine.pages_in_budget(self.name, windows * WINDOW_MS * 1e6 / world.group_pages)
        many = min(granted, budget)
        page, self._queue = self._queue[:many], self._queue[many:]
        if len(self._queue):
            world.decisions.rest(HeldBack.RATE if granted <= budget else machine.budget_ends_with)
        self._queued[page] = False
        world.decisions.move(page, Moved.HOT)
        moves = machine.migrate(page, world.fast_node, self.name)
        world.decisions.hold(moves.failed, HeldBack.FREE_SPACE)

    def _balance(self, world: LabWorld) -> None:
        """The kernel demotes while the top tier has no more free, beyond the margin, than at the first promotion."""
        machine = world.machine
        free = int(machine.free_pages[list(machine.top_nodes)].sum())
        if machine.ledger.promoted == 0:
            self._free_at_first = max(free, int(machine.high_pages[list(machine.top_nodes)].sum()))
        margin = self.demotion_margin / world.group_pages
        machine.demotion_enabled = machine.ledger.promoted == 0 or free < self._free_at_first + margin

    def tracker_bytes(self) -> int:
        """128 bytes for each page that was ever sampled."""
        return 128 * int(np.count_nonzero(self._tracked))

    def counters(self) -> dict[str, int]:
        return {}
