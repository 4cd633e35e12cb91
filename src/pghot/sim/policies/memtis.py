"""MEMTIS (SOSP 2023, section 4): a histogram of sampled counts says which pages fit the fast tier.

Constants as published (FACTS 7), rules where the paper is short from its code (mm/htmm_core.c, mm/htmm_migrater.c):

* Each PEBS sample counts for its 2 MiB page. The histogram has a bin for each power of two, 16 in all: a page with n
  samples is in bin log2(n + 1). All counts are halved after every 2 million samples.
* After every 100,000 samples the hot threshold is the lowest bin from which on all pages fit the fast tier, at least 1.
  If these pages fill less than 75 % of it, the bin below is warm: its pages are not demoted.
* Every 500 ms a kernel thread demotes cold pages until the hot ones of the slow tier have room, and promotes these.
  It keeps 3 % of the node free, 1000 MB at most; with nothing to promote it starts below 2 %.

Not modelled: splitting huge pages with few hot subpages; base pages; the count that a new page starts
with; the sampler's period, which walks from 199 to 19997 to stay below 3 % of a CPU (here 199, and the rings lose what
does not fit); the order of the LRU lists, so pages that are alike go in the order of their addresses. All samples that
arrive together are counted before counts are halved.

The code was read, the paper was not: its section is unverified.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from pghot.arrays import I64, U32
from pghot.engine.accesses import Accesses, Source
from pghot.parameters import MOST, Knob, check_knobs
from pghot.policies.below_top import below_top
from pghot.policies.decisions import HeldBack, Moved
from pghot.policies.granularity import Units
from pghot.policies.policy import World
from pghot.ties import from_first

BINS = 16
FREE_SHARE = 0.03  # of the fast tier: promotion goes on down to it, demotion frees up to it
DEMOTE_SHARE = 0.02  # with nothing to promote, demotion starts below it
MOST_FREE_BYTES = 1000 << 20


def bins(count: I64) -> I64:
    """The bin of each count.

    >>> bins(np.array([0, 1, 2, 3, 6, 7, 1 << 20])).tolist()
    [0, 1, 1, 2, 2, 3, 15]
    """
    exponent: I64 = np.frexp((count + 1).astype(np.float64))[1].astype(np.int64)
    return np.minimum(exponent - 1, BINS - 1)


def thresholds(histogram: I64, fits: int, warm_below: float) -> tuple[int, int]:
    """The lowest hot bin, and the lowest that is not demoted.

    histogram  int64[16]  pages in each bin
    fits       pages that the fast tier may hold
    """
    hot, filled = BINS, 0
    while hot > 0 and filled + histogram[hot - 1] <= fits:
        hot -= 1
        filled += int(histogram[hot])
    hot = min(max(hot, 1), BINS - 1)
    return hot, hot - 1 if filled < warm_below * fits else hot


class Memtis:
    """Fills the fast tier with the hottest pages, and leaves warm ones where they are.

    cooling_samples     all counts are halved after so many
    adaptation_samples  the thresholds are set anew after so many
    period_ms           kernel ms between two rounds of migration
    warm_below          share of the fast tier that the hot pages leave empty before the bin below them is kept too
    """

    name = "memtis"
    summary = "MEMTIS: PEBS counts in bins; hot is what fits the fast tier; 2 MiB pages, every 500 ms"
    kind = "mover"
    default_sources: tuple[str, ...] = ("pebs",)
    any_source = False
    runs_live = False
    demotes = True
    awaits = "MEMTIS's kernel"
    granularity_bytes = 2 << 20
    period_events = 199  # htmm_sample_period

    def __init__(
        self,
        cooling_samples: Annotated[int, Knob(1, MOST, 100_000, 20_000_000)] = 2_000_000,
        adaptation_samples: Annotated[int, Knob(1, MOST, 10_000, 1_000_000)] = 100_000,
        period_ms: Annotated[float, Knob(1, MOST, 50, 5000)] = 500.0,
        warm_below: Annotated[float, Knob(0, 1, 0, 1)] = 0.75,
    ) -> None:
        check_knobs(self.name, type(self), locals())
        self.cooling_samples, self.adaptation_samples = cooling_samples, adaptation_samples
        self.period_ms, self.warm_below = period_ms, warm_below

    def start(self, world: World) -> None:
        world.machine.demotion_enabled = False  # it demotes by itself
        self.units = Units(world.pages, world.page_bytes, world.group_pages, self.granularity_bytes)
        self.count = np.zeros(self.units.count, np.int64)
        self.hot = self.warm = 1
        # Each sample of the lab stands for so many: a page stands for alike ones, of which one unit is sampled.
        self._stands_for = max(1.0, world.group_pages * world.page_bytes / self.granularity_bytes)
        self._sampled = 0.0
        self._seen = 0  # reports of pages in lower tiers since the last round
        self._next_ms = self.period_ms
        self._last_ns = 0.0

    def observe(self, world: World, source: Source, accesses: Accesses) -> None:
        np.add.at(self.count, self.units.of(accesses.page), accesses.count)
        before = self._sampled
        self._sampled += float(accesses.count.sum()) * self._stands_for
        if cooled := int(self._sampled // self.cooling_samples - before // self.cooling_samples):
            self.count >>= min(cooled, 63)
        if self._sampled // self.adaptation_samples > before // self.adaptation_samples:
            self._adapt(world)
        below = below_top(world.machine, accesses.page)
        self._seen += len(below)
        world.decisions.hold(below[self._bin_of(below) < self.hot], HeldBack.THRESHOLD)

    def _adapt(self, world: World) -> None:
        machine = world.machine
        placed = np.flatnonzero(machine.place < len(machine.lower))
        histogram = np.bincount(self._bin_of(placed), minlength=BINS)
        fast = world.fast_node
        fits = int(machine.capacity_pages[fast]) - self._free(world, FREE_SHARE)
        self.hot, self.warm = thresholds(histogram, fits, self.warm_below)

    def _bin_of(self, page: I64 | U32) -> I64:
        return bins(self.count[self.units.of(page)])

    def _free(self, world: World, share: float) -> int:
        """Pages of the fast node that stay free, of this share of it."""
        most = world.pages_of(MOST_FREE_BYTES)
        return int(min(share * int(world.machine.capacity_pages[world.fast_node]), most))

    def act(self, world: World) -> None:
        if world.now_ms < self._next_ms:
            return
        self._next_ms = world.now_ms + self.period_ms
        if self._seen == 0:
            world.decisions.rest(HeldBack.NOTHING_SEEN)
        self._seen = 0
        machine = world.machine
        span_ns, self._last_ns = machine.now_ns - self._last_ns, machine.now_ns
        budget = machine.pages_in_budget(self.name, span_ns)
        hot = self._on(world, machine.lower)
        hot = hot[self._bin_of(hot) >= self.hot]
        self._promote(world, hot, budget - self._make_room(world, len(hot), budget))

    def _on(self, world: World, nodes: object) -> U32:
        """Pages on the chosen nodes (bool[nodes]), in the order of a list."""
        place = world.machine.place
        chosen = np.append(np.asarray(nodes, np.bool_), False)[np.minimum(place, len(world.machine.lower))]
        return from_first(np.flatnonzero(chosen).astype(np.uint32), world.first_page)

    def _make_room(self, world: World, wanted: int, budget: int) -> int:
        """Demote cold pages so that `wanted` others have room; returns how many went."""
        machine, fast = world.machine, world.fast_node
        start_below = self._free(world, FREE_SHARE if wanted else DEMOTE_SHARE)
        free = int(machine.free_pages[fast])
        if free >= wanted + start_below:
            return 0
        there = self._on(world, np.arange(len(machine.lower)) == fast)
        cold = there[self._bin_of(there) < self.warm][: wanted + self._free(world, FREE_SHARE) - free]
        cold = cold[:budget]
        world.decisions.move(cold, Moved.COLD)
        return machine.demote(cold, fast, self.name)

    def _promote(self, world: World, hot: U32, budget: int) -> None:
        machine, fast = world.machine, world.fast_node
        page, beyond = hot[: max(0, budget)], hot[max(0, budget) :]
        world.decisions.hold(beyond, machine.budget_ends_with)
        room = min(machine.room(fast), int(machine.free_pages[fast]) - self._free(world, FREE_SHARE))
        page, without = np.split(page, [max(0, room)])
        world.decisions.hold(without, HeldBack.FREE_SPACE)
        if len(page):
            world.decisions.move(page, Moved.HOT)
            machine.migrate(page, fast, self.name)

    def tracker_bytes(self) -> int:
        return int(self.count.nbytes)

    def counters(self) -> dict[str, int]:
        return {}
