"""Oracle that sees one epoch ahead: before each epoch it exchanges pages if the epoch repays both moves.

The program takes the interrupts, and the moves use bandwidth, as with any other policy. But all moves land at the
epoch's end, however long the kernel thread then copies (FACTS 7: swap only when (c_in - c_out) * dL > the cost of both
moves).
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import I64, NOWHERE
from pghot.engine.accesses import Accesses, Source
from pghot.sim.lab_world import LabWorld


class OracleEpoch:
    """Knows the next epoch's misses exactly; the first epoch is first touch."""

    name = "oracle-epoch"
    summary = "oracle: sees each epoch before it begins, swaps pages when that repays the moves"
    kind = "oracle"
    group = "oracles"
    default_sources: tuple[str, ...] = ()
    any_source = False
    runs_live = False
    awaits = "knowledge of the future, which no machine has"

    def start(self, world: LabWorld) -> None:
        world.machine.demotion_enabled = False
        # Latencies that the next epoch's misses to each page are waited for: of misses that overlap, a part.
        self._waits = np.zeros(world.pages)

    def observe(self, world: LabWorld, source: Source, accesses: Accesses) -> None:
        """Needs no source: it knows the future."""

    def act(self, world: LabWorld) -> None:
        if world.epoch_ended:
            self._exchange(world)

    def _exchange(self, world: LabWorld) -> None:
        machine = world.machine
        page, misses = world.foresight.next_epoch()
        self._waits[:] = 0.0
        self._waits[page] = misses * machine.overlap[page]
        fast = world.fast_node
        rank_below = machine.lower[np.minimum(machine.place, len(machine.lower) - 1)] & (
            machine.place != NOWHERE
        )
        wanted = np.flatnonzero(rank_below & (self._waits > 0))
        wanted = wanted[np.argsort(-self._waits[wanted], kind="stable")]
        resident = np.flatnonzero(machine.place == fast)
        resident = resident[np.argsort(self._waits[resident], kind="stable")]
        gain = self._gain_ns(world)
        move_ns = self._move_cost_ns(world)
        free = machine.room(fast)
        into_free = wanted[:free]
        into_free = into_free[self._waits[into_free] * gain > move_ns]
        swaps = self._profitable(wanted[len(into_free) :], resident, gain, 2 * move_ns)
        machine.demote(resident[:swaps].astype(np.uint32), fast, "oracle")
        incoming = np.concatenate([into_free, wanted[len(into_free) : len(into_free) + swaps]])
        machine.migrate(incoming.astype(np.uint32), fast, "oracle")

    def _profitable(self, wanted: I64, resident: I64, gain_ns: float, cost_ns: float) -> int:
        """How many pairs, hottest in against coldest out, repay `cost_ns`."""
        pairs = min(len(wanted), len(resident))
        worth = (self._waits[wanted[:pairs]] - self._waits[resident[:pairs]]) * gain_ns > cost_ns
        return int(pairs if worth.all() else np.argmin(worth))

    def _gain_ns(self, world: LabWorld) -> float:
        """Time that one latency waited for is shorter when the fast tier serves it."""
        machine = world.machine
        slow = float(machine.latency_ns[machine.lower].min())
        return max(0.0, slow - float(machine.latency_ns[world.fast_node])) / machine.threads

    def _move_cost_ns(self, world: LabWorld) -> float:
        """Time that moving one page takes from the program: its share of a batch's interrupts, and the bytes."""
        machine = world.machine
        interrupt_ns = machine.costs.shootdown_ipi_ns / 512
        copy_ns = world.page_bytes / float(machine.topology.nodes[world.slow_node].bandwidth_gb_s)
        return interrupt_ns + copy_ns

    def tracker_bytes(self) -> int:
        return 0

    def counters(self) -> dict[str, int]:
        return {}
