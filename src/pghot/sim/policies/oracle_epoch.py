"""Oracle that sees the future: it starts from the best fixed placement, and before each epoch it exchanges pages
between any two tiers if that repays the moves.

An exchange repays by all misses to come; or by those of the next 1, 2, 4, 8, ... epochs, and then it must repay the way
back as well (FACTS 7: (c_in - c_out) * dL > the cost of both moves). If it does not help the coming epoch, it waits.
Where a node is busy, or would be by the copies, the coming epoch is tried on a machine with and without the exchanges,
for latencies move with them.

The program takes the interrupts, and the moves use bandwidth, as with any other policy. But all moves land at the
epoch's end, and as many threads copy as can do it in an epoch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pghot.arrays import F64, NOWHERE, U8
from pghot.engine.accesses import Accesses, Source
from pghot.sim.lab_world import LabWorld, Tried
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.policies.fixed_placement import (
    BUSY_SHARE,
    Exchanges,
    best_fixed_placement,
    each_page_once,
    exchanges,
    parts_of,
)

BATCH_PAGES = 512


def _nodes(world: LabWorld) -> list[int]:
    return [int(node) for node in np.flatnonzero(~world.machine.private)]


def move_to(after: U8, epoch_ns: float) -> Callable[[SimulatedMachine], None]:
    """Has a machine bring all pages to their nodes of `after`, by as many threads as it takes to copy them in
    `epoch_ns`."""

    def move(machine: SimulatedMachine) -> None:
        moved = np.flatnonzero((after != machine.place) & (machine.place != NOWHERE)).astype(np.uint32)
        thread = 0
        # What leaves a full node makes room for what enters it, so the node with the most room is filled first.
        for node in sorted(np.unique(after[moved]).tolist(), key=lambda node: -machine.room(node)):
            page = moved[after[moved] == node]
            while len(page):
                can = max(1, machine.pages_in_budget(f"oracle{thread}", epoch_ns))
                machine.migrate(page[:can], node, f"oracle{thread}", BATCH_PAGES)
                page, thread = page[can:], thread + 1

    return move


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
        self._began_ns = world.machine.now_ns
        world.machine.preferred[:] = self._first_placement(world)

    def observe(self, world: LabWorld, source: Source, accesses: Accesses) -> None:
        """Needs no source: it knows the future."""

    def act(self, world: LabWorld) -> None:
        if world.epoch_ended:
            self._exchange(world)

    def _first_placement(self, world: LabWorld) -> U8:
        """The best fixed placement, with what the first epochs repay: the way there is free, the way back is not.

        Where a node is busy it stays as it is, for its shares were tried out.
        """
        place, machine = best_fixed_placement(world), world.machine
        tried = world.foresight.try_pass(place)
        self._move_ns = self._move_cost_ns(world, tried)
        if tried.busiest_share > BUSY_SHARE:
            return place
        room = {node: machine.room(node) - int(np.count_nonzero(place == node)) for node in _nodes(world)}
        found, _ = self._worth_it(world, place, room, tried.price_ns[0], ways=1)
        return found.part(0, len(found.page), place)

    def _exchange(self, world: LabWorld) -> None:
        machine = world.machine
        room = {node: machine.room(node) for node in _nodes(world)}
        found, paid = self._worth_it(world, machine.place, room, machine.marginal_ns(), ways=2)
        epoch_ns = machine.now_ns - self._began_ns
        self._began_ns = machine.now_ns
        if not len(found.page):
            return
        after = found.part(0, len(found.page), machine.place)
        moved_bytes = world.page_bytes * int(np.count_nonzero(after != machine.place))
        bandwidths = np.array([node.bandwidth_gb_s for node in machine.topology.nodes])  # bytes/ns
        if float((machine.used_share + moved_bytes / (epoch_ns * bandwidths)).max()) > BUSY_SHARE:
            after = self._tried(world, found, paid, epoch_ns)
        move_to(after, epoch_ns)(machine)

    def _worth_it(
        self, world: LabWorld, place: U8, room: dict[int, int], price_ns: F64, ways: int
    ) -> tuple[Exchanges, F64]:
        """The exchanges that repay at these prices, those that the coming epoch wants most first.

        price_ns  float64[nodes]  what a wait for a node costs
        ways      that an exchange pays for which is taken back: 2, or 1 where the way there is free

        What lasts longer is chosen first. Returns also which part of a move's cost each epoch has to bear, for each.
        """
        nodes = sorted(room, key=lambda node: price_ns[node])
        foresight, waits = world.foresight, world.machine.overlap
        soon = np.outer(price_ns, foresight.coming_misses(1) * waits)
        left, parts = place.copy(), []
        for lasts in self._horizons(world):
            way_ns = self._move_ns * (ways if lasts else ways - 1)
            costs = np.outer(price_ns, foresight.coming_misses(lasts) * waits)
            found = each_page_once(
                [exchanges(left, costs, nodes, [room[node] for node in nodes], way_ns)], world.pages
            )
            gain_ns = found.saves(place, soon)
            found = found.only(gain_ns > 0)  # what does not help the coming epoch can wait
            alone = found.page == found.other
            for node in nodes:
                room[node] -= int(np.count_nonzero(found.node[alone] == node))
            left[found.page] = left[found.other] = NOWHERE
            share = (ways if lasts else ways - 1) / (lasts or max(1, foresight.epochs_left()))
            parts.append((found, gain_ns[gain_ns > 0], np.full(len(found.page), share)))
        every = each_page_once([found for found, _, _ in parts], world.pages)
        gain_ns, paid = (np.concatenate([part[i] for part in parts]) for i in (1, 2))
        order = np.argsort(-gain_ns, kind="stable")
        return every.only(order), paid[order]

    def _horizons(self, world: LabWorld) -> list[int | None]:
        """For how many epochs an exchange may be made: for good (None), or until it is taken back.

        A pass repeats, so none in between is longer than that.
        """
        most = min(world.foresight.epochs_left(), sum(1 for _ in world.foresight.epochs_of_a_pass()) + 1)
        return [None, *(1 << power for power in reversed(range((most - 1).bit_length())))]

    def _tried(self, world: LabWorld, found: Exchanges, paid: F64, epoch_ns: float) -> U8:
        """The placement after as many of the exchanges as make the coming epoch shortest.

        Each bears its part of what the moves take, for some last longer than this epoch.
        """
        place, foresight = world.machine.place, world.foresight
        best, best_ns = place, foresight.next_epoch_ns(place)
        for begin, end in parts_of(len(found.page)):
            tried = found.part(begin, end, place)
            takes_ns = foresight.next_epoch_ns(tried)
            with_moves_ns = foresight.next_epoch_ns(place, move_to(tried, epoch_ns))
            takes_ns += float(paid[begin:end].mean()) * (with_moves_ns - takes_ns)
            if takes_ns < best_ns:
                best, best_ns = tried, takes_ns
        return best

    def _move_cost_ns(self, world: LabWorld, tried: Tried) -> float:
        """Time that moving one page takes from the program: its share of a batch's interrupts, and the bytes.

        The bytes as they cost in the epoch in which they cost most, for the way back may come then. Where a node is
        busy in one, many moves fill it: then they take as long as the slowest node needs for them.
        """
        machine = world.machine
        byte_ns = float(np.sort(tried.byte_ns, axis=1)[:, -2:].sum(axis=1).max())
        if tried.busiest_epoch > BUSY_SHARE:
            byte_ns = max(byte_ns, 1 / float(machine.topology.nodes[world.slow_node].bandwidth_gb_s))
        return machine.costs.shootdown_ipi_ns / BATCH_PAGES + world.page_bytes * byte_ns

    def tracker_bytes(self) -> int:
        return 0

    def counters(self) -> dict[str, int]:
        return {}
