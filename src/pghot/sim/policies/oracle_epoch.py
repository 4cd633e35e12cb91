"""Oracle that sees the future: it starts from the best fixed placement, and before each epoch it exchanges pages
between any two tiers if that repays the moves.

An exchange repays by the misses of the coming epoch, together with all later ones; or by those of the coming epoch
alone, and then it must repay the way back as well (FACTS 7: (c_in - c_out) * dL > the cost of both moves). Where a node
is busy, the coming epoch is tried on the machine with and without the exchanges, for latencies move with them.

The program takes the interrupts, and the moves use bandwidth, as with any other policy. But all moves land at the
epoch's end, however long the kernel thread then copies.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import F64, NOWHERE, U8
from pghot.engine.accesses import Accesses, Source
from pghot.sim.lab_world import LabWorld
from pghot.sim.policies.fixed_placement import (
    BUSY_SHARE,
    Exchanges,
    best_fixed_placement,
    each_page_once,
    exchanges,
    parts_of,
)

BATCH_PAGES = 512


class OracleEpoch:
    """Knows every epoch's misses exactly."""

    name = "oracle-epoch"
    summary = "oracle: from a fixed placement, exchanges pages before each epoch; where bandwidth rules, a lower bound"
    kind = "oracle"
    group = "oracles"
    default_sources: tuple[str, ...] = ()
    any_source = False
    runs_live = False
    awaits = "knowledge of the future, which no machine has"

    def start(self, world: LabWorld) -> None:
        world.machine.demotion_enabled = False
        self._soon = np.zeros(world.pages)
        world.machine.preferred[:] = self._first_placement(world)

    def observe(self, world: LabWorld, source: Source, accesses: Accesses) -> None:
        """Needs no source: it knows the future."""

    def act(self, world: LabWorld) -> None:
        if world.epoch_ended:
            self._exchange(world)

    def _first_placement(self, world: LabWorld) -> U8:
        """The best fixed placement, with what the first epoch repays: the way there is free, the way back is not.

        Where a node is busy it stays as it is, for its shares were tried out.
        """
        place, foresight = best_fixed_placement(world), world.foresight
        tried, (page, misses) = foresight.try_pass(place), next(foresight.epochs_of_a_pass())
        if tried.busiest_share > BUSY_SHARE:
            return place
        machine = world.machine
        self._soon[page] = misses * machine.overlap[page]
        nodes = [
            int(node) for node in np.argsort(tried.price_ns[0], kind="stable") if not machine.private[node]
        ]
        free = [machine.room(node) - int(np.count_nonzero(place == node)) for node in nodes]
        costs = np.outer(tried.price_ns[0], self._soon)
        found = each_page_once([exchanges(place, costs, nodes, free, self._move_cost_ns(world))], world.pages)
        return found.part(0, len(found.page), place)

    def _exchange(self, world: LabWorld) -> None:
        machine = world.machine
        page, misses = world.foresight.next_epoch()
        self._soon[:] = 0.0
        self._soon[page] = misses * machine.overlap[page]
        found = self._worth_it(world, self._soon, world.foresight.later_misses() * machine.overlap)
        after = found.part(0, len(found.page), machine.place)
        if len(found.page) and float(machine.used_share.max()) > BUSY_SHARE:
            after = self._tried(world, found)
        # What leaves a full node makes room for what enters it, so the node with the most room is filled first.
        moved = np.flatnonzero((after != machine.place) & (machine.place != NOWHERE)).astype(np.uint32)
        for node in sorted(np.unique(after[moved]).tolist(), key=lambda node: -machine.room(node)):
            machine.migrate(moved[after[moved] == node], node, "oracle", BATCH_PAGES)

    def _worth_it(self, world: LabWorld, soon: F64, later: F64) -> Exchanges:
        """The exchanges that repay at the present prices: for good, or for one epoch with the way back."""
        machine = world.machine
        price_ns = machine.marginal_ns()
        nodes = [int(node) for node in np.argsort(price_ns, kind="stable") if not machine.private[node]]
        free = [machine.room(node) for node in nodes]
        move_ns = self._move_cost_ns(world)
        return each_page_once(
            [
                exchanges(machine.place, np.outer(price_ns, misses), nodes, free, cost_ns)
                for misses, cost_ns in ((soon + later, move_ns), (soon, 2 * move_ns))
            ],
            world.pages,
        )

    def _tried(self, world: LabWorld, found: Exchanges) -> U8:
        """The placement after as many of the exchanges as make the coming epoch shortest."""
        place, move_ns = world.machine.place, self._move_cost_ns(world)
        best, best_ns = place, world.foresight.next_epoch_ns(place)
        for begin, end in parts_of(len(found.page)):
            tried = found.part(begin, end, place)
            takes_ns = world.foresight.next_epoch_ns(tried) + np.count_nonzero(tried != place) * move_ns
            if takes_ns < best_ns:
                best, best_ns = tried, takes_ns
        return best

    def _move_cost_ns(self, world: LabWorld) -> float:
        """Time that moving one page takes from the program: its share of a batch's interrupts, and the bytes."""
        machine = world.machine
        interrupt_ns = machine.costs.shootdown_ipi_ns / BATCH_PAGES
        copy_ns = world.page_bytes / float(machine.topology.nodes[world.slow_node].bandwidth_gb_s)
        return interrupt_ns + copy_ns

    def tracker_bytes(self) -> int:
        return 0

    def counters(self) -> dict[str, int]:
        return {}
