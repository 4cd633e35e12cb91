"""What happens when a program accesses pages of a compressed node: the node's rule (`pghot.rules`) in action."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from pghot.arrays import F64, U32
from pghot.policies.machine import Machine
from pghot.sim.compressed.node import CompressedNode
from pghot.sim.machine.costs import Costs
from pghot.sim.machine.lru import Generations
from pghot.sim.machine.move_costs import MoveCosts
from pghot.sim.machine.touch import touch
from pghot.units import PAGE_BYTES

PROTECT_AGAIN_MS = 1000.0  # granted pages are read-only again after this (est.)
_DRAIN = "kdrain"


class Surroundings(Machine, Protocol):
    """The parts of the machine around the node that a rule needs; see `SimulatedMachine`."""

    pages: int
    page_bytes: int
    threads: int
    group_pages: float
    costs: Costs
    move_costs: MoveCosts
    generations: Generations

    def reclaim_directly(self, pages: int, on: int | None = None) -> int: ...

    def free(self, page: U32) -> None: ...

    def set_latency(self, node: int, latency_ns: float) -> None: ...

    def occupy(self, node: int, bytes_moved: float) -> None: ...


class Access:
    """Applies the rule of a compressed node to the accesses on a machine.

    node       the node's number
    hit_ns     latency of a hit in the device's cache
    link_gb_s  bandwidth of the node's link
    """

    def __init__(
        self, machine: Surroundings, tier: CompressedNode, node: int, *, hit_ns: float, link_gb_s: float
    ) -> None:
        self._machine, self._tier, self._node = machine, tier, node
        self._hit_ns, self._link_gb_s = hit_ns, link_gb_s
        self._dead: npt.NDArray[np.bool_] | None = None
        self._protected_ms = 0.0
        self._cursor = 0
        self._first = np.zeros(machine.pages, np.bool_)
        self._any_first = False
        top_pages = int(machine.capacity_pages[list(machine.top_nodes)].sum())
        self._part = max(1, top_pages // 4)  # pages promoted at a time

    def living(self, page: U32) -> npt.NDArray[np.bool_] | None:
        """Which rows are of tenants that were not killed; None: all rows."""
        return None if self._dead is None else ~self._dead[page]

    def writes(self, page: U32, writes: U32) -> None:
        """The slice made these writes to these pages (uint32[rows] each). Pages may move, and tenants may be killed."""
        tier, machine, rule = self._tier, self._machine, self._tier.rule
        if rule.drains != "never" and tier.warned:
            self._drain()
        written = tier.note_writes(page, writes, self._first, machine.place, self._node)
        if self._any_first:
            self._first[:] = self._any_first = False
        if not rule.reads:
            written = np.unique(page)
            written = written[machine.place[written] == self._node]
        if len(written) == 0:
            return
        if rule.writes == "in place":
            self._write(written)
            return
        if rule.writes == "granted":
            self._protect_again()
            written = self._check_margin(written)
        else:
            tier.counts.write_faults += len(written)
            self._charge_faults(len(written))
        self._promote(written)

    def touches(self, page: U32) -> int:
        """The slice touches these pages (uint32[rows]); returns how many are not placed yet.

        Writes to unplaced pages in this slice are their first contents.
        """
        machine = self._machine
        unplaced = touch(page, machine.place, machine.generations.young, self._first)
        self._any_first |= unplaced > 0
        return unplaced

    def leave(self, page: U32) -> float:
        """These pages are about to be copied elsewhere; returns how long the copy has to wait for the device, ns."""
        page = page[self._machine.place[page] == self._node]
        if len(page):
            self._tier.release(page)
        # To copy a page, its first block is read and decompressed.
        return len(page) * self._tier.device.miss_ns

    def _check_margin(self, written: U32) -> U32:
        """Let the writes through that the device can absorb; returns the pages for which it cannot."""
        tier = self._tier
        fresh = written[~tier.granted[written]]
        tier.counts.write_faults += len(fresh)
        self._charge_faults(len(fresh))
        let = tier.grant(fresh)
        self._write(written[tier.granted[written]])
        return fresh[len(let) :]

    def _write(self, page: U32) -> None:
        """The stores go to the device. Tenants that overrun their budget with them are killed."""
        for tenant in self._tier.write(page):
            self._kill(tenant)

    def _protect_again(self) -> None:
        """Once a second, make the granted pages read-only and flush them, so that their margin is free again."""
        now_ms = self._machine.now_ns * self._machine.group_pages / 1e6
        if now_ms - self._protected_ms >= PROTECT_AGAIN_MS:
            self._protected_ms = now_ms
            self._protect_all()

    def _protect_all(self) -> int:
        """Make all granted pages read-only and flush them; returns how many there were."""
        granted = np.flatnonzero(self._tier.granted).astype(np.uint32)
        self._tier.revoke(granted)
        machine, costs = self._machine, self._machine.costs
        page_ns = costs.age_pte_ns + costs.flush_4k_ns * machine.page_bytes / PAGE_BYTES
        shootdowns = machine.move_costs.batches(len(granted))
        machine.charge_tracking(
            shootdowns * costs.shootdown_ipi_ns * machine.threads,
            shootdowns * costs.shootdown_ns + len(granted) * page_ns,
            _DRAIN,
        )
        return len(granted)

    def _charge_faults(self, faults: int) -> None:
        self._machine.charge_tracking(faults * self._machine.costs.hint_fault_ns, 0.0, "write faults")

    def _promote(self, page: U32) -> None:
        """Copy pages to the top tier while the writer waits. When no room can be made, writers are killed.

        A slice may write to more pages than the top tier holds. They are promoted in parts. The first may have been
        demoted again when the last are promoted.
        """
        machine = self._machine
        for begin in range(0, len(page), self._part):
            waiting = page[begin : begin + self._part]
            if begin:
                waiting = waiting[machine.place[waiting] == self._node]
            while len(waiting := self._promoted(waiting)):
                self.out_of_memory(waiting)
                waiting = waiting[machine.place[waiting] == self._node]

    def _promoted(self, page: U32) -> U32:
        """Promote to the top nodes that have room or can make it; returns the pages that are left."""
        machine = self._machine
        for target in machine.promotion_targets[self._node]:
            if len(page) == 0:
                break
            short = len(page) - machine.room(target)
            if short > 0:
                machine.reclaim_directly(short, target)
            page = machine.migrate(page, target, "app").failed
        return page

    def _drain(self) -> None:
        """The device has warned: promote as many pages as there is time for, to the top node with the most room."""
        machine, tier = self._machine, self._tier
        target = max(machine.promotion_targets[self._node], key=machine.room)
        pages = min(machine.room(target), machine.pages_in_budget(_DRAIN))
        if pages <= 0:
            return
        held = np.flatnonzero(machine.place == self._node).astype(np.uint32)
        held = np.roll(held, -int(np.searchsorted(held, self._cursor)))[:pages]
        moved = machine.migrate(held, target, _DRAIN).moved
        if len(moved):
            self._cursor = int(moved[-1]) + 1
        tier.counts.drained += len(moved)

    def out_of_memory(self, page: U32) -> None:
        """No node has room for these pages. Take back the margin of granted pages, so that demotion may go on.

        If no page is granted, kill the tenant that owns most of these pages, as the OOM killer would.
        """
        if not self._protect_all():
            self._kill(self._tier.tenant_with_most(page))

    def _kill(self, tenant: int) -> None:
        """End a tenant: its pages are freed, and the rest of its accesses do not happen."""
        pages = self._tier.pages_of(tenant)
        if self._dead is None:
            self._dead = np.zeros(self._machine.pages, np.bool_)
        self._dead[pages] = True
        self._tier.counts.killed += 1
        self._machine.free(pages)

    def load(self, served: F64) -> None:
        """Tell the machine how slow the device is in this slice, and how busy writing back keeps it.

        served  float64[initiators, nodes, 4]  random, sequential, dirty misses, and waits (`machine.touch.serve`)
        """
        machine, device = self._machine, self._tier.device
        random, sequential, dirty, _ = map(sum, zip(*served[:, self._node].tolist(), strict=True))
        scattered = random / max(random + sequential, 1e-9)
        missed = scattered * (1.0 - device.hit_share)
        machine.set_latency(self._node, self._hit_ns + missed * (device.miss_ns - self._hit_ns))
        # A scattered line that is not in the device's cache costs a whole block: read, change, compress. Neighbouring
        # lines that are written one after the other are compressed together.
        self.compress(dirty * (missed * device.block + (1.0 - missed) * device.line))

    def compress(self, bytes_: float) -> None:
        """The device compresses this many bytes, and its link waits meanwhile."""
        self._machine.occupy(self._node, bytes_ * self._link_gb_s / self._tier.device.compress_gb_s)
