"""HybridTier (ASPLOS 2025): what is hot for long, and what has become hot just now, each in a counting Bloom filter.

Constants as published (FACTS 7), and as in its artifact (tiering_runtime/hybridtier.cpp) where the paper is short:

* A thread in user space takes PEBS samples in batches of 100,000, and counts each page in both filters. A page is
  promoted if its frequency is at least 5 or its momentum at least 3. The frequency filter is sized for the pages of the
  fast tier, and halved after 160 samples for each; the momentum filter is a hundredth of it, and halved after 1.1
  million samples.
* When 1.25 % of the fast tier or less are free, it looks for cold pages until 5 % would be free, in the order of
  addresses, on from where it stopped. Cold is what has neither frequency nor momentum. A page that is frequent without
  momentum gets a second chance: if after 60 s it was not counted again, it goes too. Up to 10,000 pages wait for that.

The momentum filter grows with the fast tier, and its 1.1 million samples do not: on a fast tier of some 100 MiB its
counters are full, no page is without momentum, and nothing is demoted.

Not modelled: perf's frequency mode, which asks for 100,000 samples a second and CPU (here 1 of 199, est.: the rings of
the lab keep 15,000); the monitoring mode and the lower threshold for times in which little is promoted; the pause
after fast demotion; huge pages.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from pghot.arrays import U32, Bool
from pghot.carry import Carry
from pghot.engine.accesses import Accesses, Source
from pghot.parameters import MOST, Knob, check_knobs
from pghot.policies.below_top import below_top
from pghot.policies.decisions import HeldBack, Moved
from pghot.policies.policy import World
from pghot.sim.policies.counting_bloom import MOST_COUNT, CountingBloom, blocks_for

BATCH_SAMPLES = 100_000
SAMPLES_PER_PAGE = 160  # of the fast tier, until frequencies are halved
MOMENTUM_SAMPLES = 1_100_000
DEMOTE_BELOW, DEMOTE_UP_TO = 0.0125, 0.05  # shares of the fast tier that are free
SECOND_CHANCE_MS = 60_000.0
SECOND_CHANCES = 10_000


class HybridTier:
    """Frequency and momentum. Memory for tracking grows with the fast tier only.

    frequency, momentum  counts from which on a page is promoted
    batch_samples        samples between two rounds
    """

    name = "hybridtier"
    summary = "HybridTier: PEBS counts in two Bloom filters; promoted by frequency or by momentum"
    kind = "mover"
    default_sources: tuple[str, ...] = ("pebs",)
    any_source = False
    runs_live = False
    demotes = True
    awaits = "HybridTier's library"
    period_events = 199

    def __init__(
        self,
        frequency: Annotated[int, Knob(1, MOST_COUNT, 1, MOST_COUNT)] = 5,
        momentum: Annotated[int, Knob(1, MOST_COUNT, 1, MOST_COUNT)] = 3,
        batch_samples: Annotated[int, Knob(1, MOST, 10_000, 1_000_000)] = BATCH_SAMPLES,
    ) -> None:
        check_knobs(self.name, type(self), locals())
        self.frequency, self.momentum, self.batch_samples = frequency, momentum, batch_samples

    def start(self, world: World) -> None:
        machine = world.machine
        machine.demotion_enabled = False  # it demotes by itself
        fast = int(machine.capacity_pages[world.fast_node])
        # Samples are those of one of the K pages that a page stands for: a K-th of all.
        self._frequent = CountingBloom(blocks_for(fast), SAMPLES_PER_PAGE * fast)
        self._moving = CountingBloom(blocks_for(fast / 100), MOMENTUM_SAMPLES / world.group_pages)
        self._batch = self.batch_samples / world.group_pages
        self._waiting: list[tuple[U32, U32]] = []
        self._samples = 0
        self._seen = 0
        self._cursor = world.first_page
        self._second, self._second_count = np.empty(0, np.uint32), np.empty(0, np.uint8)
        self._second_ms = 0.0
        self._granted = Carry()
        self._chances = self._granted.whole(SECOND_CHANCES / world.group_pages)
        self._last_ns = 0.0

    def observe(self, world: World, source: Source, accesses: Accesses) -> None:
        self._waiting.append((accesses.page, accesses.count))
        self._samples += int(accesses.count.sum())
        self._seen += len(below_top(world.machine, accesses.page))

    def act(self, world: World) -> None:
        if self._samples < self._batch or not self._waiting:
            return
        machine = world.machine
        span_ns, self._last_ns = machine.now_ns - self._last_ns, machine.now_ns
        budget = machine.pages_in_budget(self.name, span_ns)
        if self._seen == 0:
            world.decisions.rest(HeldBack.NOTHING_SEEN)
        self._seen = 0
        budget -= self._promote(world, self._hot(world), budget)
        free, fast = machine.free_pages[world.fast_node], machine.capacity_pages[world.fast_node]
        if free <= DEMOTE_BELOW * fast:
            budget -= self._demote(world, self._without_second_chance(world), budget)
            wanted = int(DEMOTE_UP_TO * fast) - int(machine.free_pages[world.fast_node])
            self._demote(world, self._cold(world, wanted), budget)

    def _hot(self, world: World) -> U32:
        """Count the batch; returns its pages below the top tier that are to be promoted."""
        page, inverse = np.unique(np.concatenate([page for page, _ in self._waiting]), return_inverse=True)
        every = np.concatenate([count for _, count in self._waiting])
        count = np.bincount(inverse, every, minlength=len(page)).astype(np.uint32)
        self._waiting, self._samples = [], 0
        hot = (self._frequent.add(page, count) >= self.frequency) | (
            self._moving.add(page, count) >= self.momentum
        )
        world.decisions.hold(below_top(world.machine, page[~hot]), HeldBack.THRESHOLD)
        return below_top(world.machine, page[hot])

    def _promote(self, world: World, hot: U32, budget: int) -> int:
        machine, fast = world.machine, world.fast_node
        page, beyond = hot[:budget], hot[budget:]
        page, without = np.split(page, [machine.room(fast)])
        world.decisions.hold(without, HeldBack.FREE_SPACE)
        world.decisions.hold(beyond, machine.budget_ends_with)
        if len(page):
            world.decisions.move(page, Moved.HOT)
            machine.migrate(page, fast, self.name)
        return len(page)

    def _cold(self, world: World, wanted: int) -> U32:
        """Up to `wanted` cold pages of the fast tier, from the cursor on; those that get a second chance are noted."""
        there = np.flatnonzero(world.machine.place == world.fast_node).astype(np.uint32)
        there = there[np.searchsorted(there, self._cursor) :]
        frequent = self._frequent.counts(there) >= self.frequency
        still = self._moving.counts(there) == 0
        reached = np.searchsorted(np.cumsum(still & ~frequent), max(1, wanted)) + 1
        self._cursor = int(there[reached - 1]) + 1 if reached <= len(there) else 0
        self._give_second_chance(world, there[:reached][(still & frequent)[:reached]])
        cold: U32 = there[:reached][(still & ~frequent)[:reached]]
        return cold

    def _give_second_chance(self, world: World, page: U32) -> None:
        page = page[: max(0, self._chances - len(self._second))]
        self._frequent.take_one(
            page[self._frequent.counts(page) == MOST_COUNT]
        )  # else the next sample would not show
        self._second = np.concatenate([self._second, page])
        self._second_count = np.concatenate([self._second_count, self._frequent.counts(page)])

    def _without_second_chance(self, world: World) -> U32:
        """Pages that were not counted since they got their chance; none before it is over."""
        if world.now_ms - self._second_ms <= SECOND_CHANCE_MS or (self._chances and len(self._second) == 0):
            return np.empty(0, np.uint32)
        self._second_ms = world.now_ms
        self._chances = self._granted.whole(SECOND_CHANCES / world.group_pages)
        page, first = np.unique(self._second, return_index=True)
        unused = self._frequent.counts(page) == self._second_count[first]
        self._second, self._second_count = self._second[:0], self._second_count[:0]
        there: Bool = world.machine.place[page] == world.fast_node
        gone: U32 = page[unused & there]
        return gone

    def _demote(self, world: World, cold: U32, budget: int) -> int:
        cold = cold[: max(0, budget)]
        world.decisions.move(cold, Moved.COLD)
        return world.machine.demote(cold, world.fast_node, self.name)

    def tracker_bytes(self) -> int:
        return self._frequent.nbytes + self._moving.nbytes

    def counters(self) -> dict[str, int]:
        return {}
