"""TPP with Colloid (SOSP 2024): hint faults move pages up only while the fast tier is the faster one, and else down.

Colloid measures the loaded latency of both tiers as in `colloid`. While the fast one's is the longer, its patches to
TPP's kernel (tpp/linux-6.3, kernel/sched/fair.c, should_numa_migrate_memory(), numa_migrate_memory_away_target();
tpp/colloid-mon) refuse all promotions to it, and have a fault on an active page of the fast tier move that page down.
For this the scanner marks pages of the fast tier too. Which page is active is TPP's rule: the second fault.

Choices of ours: latencies are smoothed as with HeMem (0.0625 every 10 ms; the patches take 1/32 of each reading, and
read without pause); faults on the two tiers are counted apart, those on the fast one while it is the slower. Not
modelled: the latencies that the patches assume at least, 15 and 30 in units of their own. The paper was not read:
whether it moves shares of accesses here, as over HeMem, is unverified.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import U32
from pghot.engine.accesses import Accesses, Source
from pghot.policies.decisions import HeldBack, Moved
from pghot.policies.hemem import PERIOD_MS
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.move_costs import HINT_FAULT
from pghot.sim.policies.colloid import MeasuredLatencies
from pghot.sim.policies.tpp import Tpp


class TppColloid(MeasuredLatencies, Tpp):
    """TPP's faults, in the direction that Colloid's latencies say."""

    name = "tpp-colloid"
    summary = "TPP + Colloid: the second hint fault promotes while the fast tier is faster, and else demotes"
    every_tier = True
    awaits = "the patches of TPP and Colloid"

    def start(self, world: LabWorld) -> None:
        super().start(world)
        self.start_measuring(world)
        self.congested = False  # the fast tier is the slower one
        self._seen_on_top = np.zeros(
            world.pages, np.uint8
        )  # faults of each page there, while it was the slower tier
        self._faults_on_top = 0

    def observe(self, world: LabWorld, source: Source, accesses: Accesses) -> None:
        lower = world.machine.lower[world.machine.place[accesses.page]]
        self._faults_on_top += int(np.count_nonzero(~lower))
        super().observe(world, source, accesses.only(lower))
        if self.congested:
            self._take_down(world, accesses.page)

    def _promote(self, world: LabWorld, page: U32, node: int) -> None:
        if self.congested and world.machine.promotion_targets[node][0] == world.fast_node:
            world.decisions.hold(page, HeldBack.NEVER_PRESSED)
        else:
            self._seen_on_top[page] = 0
            super()._promote(world, page, node)

    def _take_down(self, world: LabWorld, page: U32) -> None:
        """These pages faulted: the active ones of the fast node leave it."""
        page = page[world.machine.place[page] == world.fast_node]
        self._seen_on_top[page] = np.minimum(self._seen_on_top[page] + 1, self.promoting_fault)
        active = page[self._seen_on_top[page] == self.promoting_fault]
        world.decisions.move(active, Moved.BALANCE)
        world.machine.demote(active, world.fast_node, HINT_FAULT)

    def act(self, world: LabWorld) -> None:
        self._measure(world, PERIOD_MS)
        fast_ns, slow_ns = (self._latency_ns(world, node) for node in (world.fast_node, world.slow_node))
        self.congested = fast_ns > slow_ns
        super().act(world)

    def counters(self) -> dict[str, int]:
        counters = super().counters()
        return {**counters, "numa_hint_faults": counters["numa_hint_faults"] + self._faults_on_top}
