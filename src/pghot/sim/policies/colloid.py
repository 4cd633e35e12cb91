"""HeMem with Colloid (SOSP 2024): balance the tiers' loaded latencies instead of packing the hottest pages.

In each quantum it measures the latency of both tiers by Little's law (occupancy / rate, smoothed). It moves pages so
that the share `p` of accesses served by the fast tier approaches the point where the latencies are equal. It finds that
point by bisection between two watermarks. Constants of the paper: smoothing 0.0625 (FACTS 7), delta 0.05 and epsilon
0.01.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import U32
from pghot.policies.decisions import HeldBack, Moved
from pghot.policies.hemem import SampledCounts
from pghot.sim.lab_world import LabWorld
from pghot.ties import from_first

SMOOTHING = 0.0625
DELTA = 0.05
EPSILON = 0.01


class MeasuredLatencies:
    """The loaded latency of each node, as Colloid measures it."""

    def start_measuring(self, world: LabWorld) -> None:
        nodes = len(world.machine.free_pages)
        self._occupancy, self._rate = np.zeros(nodes), np.zeros(nodes)
        self._served_before = np.zeros(nodes)

    def _measure(self, world: LabWorld, period_ms: float) -> None:
        """Smooth occupancy (lines in flight) and rate (lines/ns) of each node over the last slice, once in each period
        of the policy."""
        machine = world.machine
        served = machine.ledger.served - self._served_before
        self._served_before = machine.ledger.served.copy()
        rate = served / max(machine.slice_ns, 1e-9)
        # A real machine's uncore counters see the same: lines waiting and lines arriving. It reads them in each
        # period of the policy; a slice is as many of these as fit in it.
        weight = 1 - (1 - SMOOTHING) ** (machine.slice_ns * world.group_pages / (period_ms * 1e6))
        self._occupancy += weight * (rate * machine.latency_ns - self._occupancy)
        self._rate += weight * (rate - self._rate)

    def _latency_ns(self, world: LabWorld, node: int) -> float:
        """The node's latency by Little's law; for an idle node, its idle latency."""
        if self._rate[node] <= 1e-12:
            return float(world.machine.topology.nodes[node].latency_ns)
        return float(self._occupancy[node] / self._rate[node])


class HeMemColloid(MeasuredLatencies, SampledCounts[LabWorld]):
    """HeMem's counts say what share of the accesses each page carries; Colloid says which share the fast tier needs."""

    name = "hemem-colloid"
    summary = "HeMem + Colloid: balances the tiers' loaded latencies"
    runs_live = False
    awaits = "Colloid's patches to HeMem or the kernel"

    def start(self, world: LabWorld) -> None:
        super().start(world)
        self.start_measuring(world)
        self._low, self._high = 0.0, 1.0

    def act(self, world: LabWorld) -> None:
        self._measure(world, self.period_ms)
        super().act(world)

    def migrate(self, world: LabWorld, budget: int) -> None:
        fast, slow = world.fast_node, world.slow_node
        total = self._rate[fast] + self._rate[slow]
        if total <= 0:
            world.decisions.rest(HeldBack.NEVER_PRESSED)
            return
        share = self._rate[fast] / total
        step = self._step(self._latency_ns(world, fast), self._latency_ns(world, slow), share)
        if step > 0:
            self.promote_hot(world, self._worth(self.hot_below(world), step), budget)
        elif step < 0:
            page = self._worth(self._resident(world), -step)[:budget]
            world.decisions.move(page, Moved.BALANCE)
            world.machine.demote(page, fast, self.name)
        else:  # the tiers are balanced
            world.decisions.rest(HeldBack.NEVER_PRESSED)

    def _step(self, fast_ns: float, slow_ns: float, share: float) -> float:
        """How much the fast tier's share of accesses should change now (negative: it should shrink)."""
        if abs(fast_ns - slow_ns) < DELTA * fast_ns:
            return 0.0
        if fast_ns < slow_ns:
            self._low = share
        else:
            self._high = share
        if self._high < self._low + EPSILON:
            # The balance point has left the bracket: open the bracket on that side.
            if fast_ns < slow_ns:
                self._high = 1.0
            else:
                self._low = 0.0
        return (self._low + self._high) / 2 - share

    def _resident(self, world: LabWorld) -> U32:
        """Sampled pages in the fast tier, hottest first."""
        page = from_first(
            np.flatnonzero(world.machine.place == world.fast_node).astype(np.uint32), world.first_page
        )
        count = self.count[self.units.of(page)]
        return page[np.argsort(-count, kind="stable")[: np.count_nonzero(count)]]

    def _worth(self, page: U32, share: float) -> U32:
        """The first pages of `page` that together carry at most `share` of all sampled accesses."""
        sampled = (
            self.count.sum() * self.units.pages / self.units.count
        )  # each page has the count of its unit
        carried = np.cumsum(self.count[self.units.of(page)]) / max(1, sampled)
        return page[: int(np.searchsorted(carried, share, side="right"))]
