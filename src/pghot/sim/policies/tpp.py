"""TPP, Transparent Page Placement (ASPLOS 2023; "Transparent Page Placement for Tiered-Memory", LKML, November 2021).

A hint fault promotes a page only if the page is on the active LRU list (section 5.3 of the paper; patch 5). A page
below the top tier that faults on the inactive list becomes active, and is promoted at its next fault, in the thread
that faulted. kswapd demotes early: it wakes below a watermark of its own, 2 % of the node and at least twice the high
one, and frees up to it (section 5.2; patches 3 and 4). Allocations and promotions go on below it.

Not modelled: the lists themselves. A page of the slow tier stays active until it is promoted, and comes back inactive,
as demotion takes pages from the inactive list; which pages go is up to the machine's generations. Nor is the placement
of file caches on the slow tier (section 5.4, off by default).

The patches were read, the paper was not: its sections are unverified.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from pghot.arrays import U32
from pghot.engine.accesses import Accesses, Source
from pghot.parameters import Knob, check_knobs
from pghot.policies.decisions import HeldBack, Moved
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.move_costs import HINT_FAULT
from pghot.sim.machine.simulated import SimulatedMachine

DEMOTE_SCALE = 0.02  # vm.demote_scale_factor, 200 of 10,000


def demote_early(machine: SimulatedMachine, share: float) -> None:
    """Let kswapd wake below `share` of each top-tier node, and free up to it (patch 3, __setup_per_zone_wmarks())."""
    top = list(machine.top_nodes)
    wanted = np.ceil(machine.capacity_pages[top] * share).astype(np.int64)
    mark = np.minimum(np.maximum(wanted, 2 * machine.high_pages[top]), machine.capacity_pages[top])
    machine.low_pages[top] = machine.high_pages[top] = mark


class Tpp:
    """Promotes at the second hint fault, and keeps a part of the fast tier free for that.

    demote_scale  kswapd keeps this share of each top-tier node free
    faults        the hint fault that promotes: 2 as in the paper. The patches need 3, because mark_page_accessed() only
                  marks an inactive page as referenced at first
    """

    name = "tpp"
    summary = "TPP: promotion at the second hint fault, in the thread that faulted; demotion below 2 % free"
    kind = "mover"
    default_sources: tuple[str, ...] = ("hintfaults",)
    any_source = False
    runs_live = False
    moves_in_fault = True
    awaits = "TPP's patches: the kernel has its demotion, not its promotion nor its watermark"

    def __init__(
        self,
        demote_scale: Annotated[float, Knob(0, 0.1, 0.005, 0.1)] = DEMOTE_SCALE,
        faults: Annotated[int, Knob(1, 255, 1, 8)] = 2,
    ) -> None:
        check_knobs(self.name, type(self), locals())
        self.demote_scale, self.promoting_fault = demote_scale, faults

    def start(self, world: LabWorld) -> None:
        world.machine.demotion_enabled = True
        demote_early(world.machine, self.demote_scale)
        self._seen = np.zeros(world.pages, np.uint8)  # faults of each page since it came to the slow tier
        self._faults = self._faults_before = self._candidates = 0

    def observe(self, world: LabWorld, source: Source, accesses: Accesses) -> None:
        self._faults += len(accesses)
        page = accesses.page
        self._seen[page] = np.minimum(self._seen[page] + 1, self.promoting_fault)
        active = self._seen[page] == self.promoting_fault
        world.decisions.hold(page[~active], HeldBack.THRESHOLD)
        self._candidates += int(np.count_nonzero(active))
        for node in np.unique(accesses.node[active]):
            self._promote(world, page[active & (accesses.node == node)], int(node))

    def _promote(self, world: LabWorld, page: U32, node: int) -> None:
        """Promote pages that CPUs of `node` faulted on to the top tier nearest to it."""
        world.decisions.move(page, Moved.HOT)
        moves = world.machine.migrate(page, world.machine.promotion_targets[node][0], payer=HINT_FAULT)
        self._seen[moves.moved] = 0
        world.decisions.hold(moves.failed, HeldBack.FREE_SPACE)

    def act(self, world: LabWorld) -> None:
        if self._faults == self._faults_before:
            world.decisions.rest(HeldBack.NOTHING_SEEN)
        self._faults_before = self._faults
        world.machine.balance()

    def tracker_bytes(self) -> int:
        """0: the list that a page is on says it."""
        return 0

    def counters(self) -> dict[str, int]:
        return {"numa_hint_faults": self._faults, "pgpromote_candidate": self._candidates}
