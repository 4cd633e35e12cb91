"""AutoTiering (ATC 2021): a hint fault promotes; where the fast tier is full, a page that was accessed less goes down.

Each page has a history of 8 bits, of the last scans: whether it was accessed before each. Their sum is its level; a new
page begins with all bits set. A fault below the top tier promotes while its target has more free than its high
watermark. Beyond that the faulting thread demotes one of the pages of the lowest level there, if that is below the
faulting page's own, and promotes in its place ("opportunistic", OPM, with demotion on demand, as its code is set up).
Of pages of a level, one that the last scan found untouched goes first. Without that it is the "conservative" one (CPM).
Constants and rules are those of its patch for Linux 5.3 (mm/page_balancing.c, mm/migrate.c, mm/mprotect.c); the paper
was not read. The patch keeps the history in the scanner, which marks pages of every tier; here the source does.

A choice of ours: pages that are alike go in the order of their numbers. A page that no scan came to since it was
allocated or moved is not demoted, as it is on none of the patch's lists.

Not modelled: the demotion of file pages first, whatever their level; the pool of reserved pages with demotion in the
background, and the exchange of two pages, both off by default; migration to another node of a lower tier when the
target is busy; migration between the nodes of the top tier.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import U8, U32
from pghot.engine.accesses import Accesses, Source
from pghot.jit import njit
from pghot.policies.decisions import HeldBack, Moved
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.move_costs import HINT_FAULT
from pghot.sim.sources.hintfaults import HintFaults
from pghot.ties import from_first


@njit(cache=True)
def exchanged(level: U8, cold_level: U8) -> U32:
    """Which of the faulting pages take the place of a page each, as indices.

    level       uint8[faults]  of the faulting pages, in their order
    cold_level  uint8[pages]   of the pages that may go down, ascending: each that goes is the first that is left
    """
    out = np.empty(len(level), np.uint32)
    found = 0
    for fault in range(len(level)):
        if found < len(cold_level) and cold_level[found] < level[fault]:
            out[found] = fault
            found += 1
    return out[:found]


class AutoTiering:
    """Promotes at a hint fault, and demotes for it what has the lower level.

    opportunistic  whether it demotes at all
    """

    name = "autotiering"
    summary = (
        "AutoTiering: a hint fault promotes; where that is full, a page with fewer of 8 accesses goes for it"
    )
    kind = "mover"
    default_sources: tuple[str, ...] = ("hintfaults",)
    any_source = False
    every_tier = True
    runs_live = False
    demotes = True
    awaits = "AutoTiering's kernel"
    moves_in_fault = True

    def __init__(self, opportunistic: bool = True) -> None:
        self.opportunistic = opportunistic

    def start(self, world: LabWorld) -> None:
        world.machine.demotion_enabled = False  # Linux 5.3 has none
        self.history = np.full(world.pages, 0xFF, np.uint8)
        self.scans = np.zeros(world.pages, np.uint32)
        self._moved_at = np.zeros(world.pages, np.uint32)  # scans of each page when it came to its node
        self._faults = self._faults_before = self._candidates = 0

    def observe(self, world: LabWorld, source: Source, accesses: Accesses) -> None:
        if isinstance(source, HintFaults):
            self.history, self.scans = source.history, source.scans
        machine = world.machine
        below = accesses.only(machine.lower[machine.place[accesses.page]])
        self._faults += len(below)
        for node in np.unique(below.node):
            self._promote(world, below.page[below.node == node], machine.promotion_targets[node][0])

    def _promote(self, world: LabWorld, page: U32, target: int) -> None:
        """These pages faulted, and `target` is the node that they are to come to."""
        machine = world.machine
        free = max(0, int(machine.free_pages[target] - machine.high_pages[target]))
        fits, page = page[:free], page[free:]
        if self.opportunistic:
            cold = self._cold(world, target)
            takes = exchanged(self._level(page), self._level(cold))
            takes = takes[: self._demote(world, cold[: len(takes)], target)]
            world.decisions.hold(np.delete(page, takes), HeldBack.THRESHOLD)
            fits = np.concatenate([fits, page[takes]])
        else:
            world.decisions.hold(page, HeldBack.FREE_SPACE)
        self._candidates += len(fits)
        world.decisions.move(fits, Moved.HOT)
        self._moved_at[fits] = self.scans[fits]
        world.decisions.hold(machine.migrate(fits, target, HINT_FAULT).failed, HeldBack.FREE_SPACE)

    def _level(self, page: U32) -> U8:
        """uint8[K]: how many of the last 8 scans found each page accessed."""
        return np.bitwise_count(self.history[page])

    def _cold(self, world: LabWorld, node: int) -> U32:
        """The pages of `node` that a scan came to since they are there, those first that are to go first."""
        there = (world.machine.place == node) & (self.scans != self._moved_at)
        page = from_first(np.flatnonzero(there).astype(np.uint32), world.first_page)
        return page[np.argsort(2 * self._level(page) + (self.history[page] & 1), kind="stable")]

    def _demote(self, world: LabWorld, cold: U32, node: int) -> int:
        """Demote pages one by one in the faulting threads; returns how many went."""
        world.decisions.move(cold, Moved.COLD)
        world.machine.demote(cold, node, "app")
        return int(np.count_nonzero(world.machine.place[cold] != node))

    def act(self, world: LabWorld) -> None:
        if self._faults == self._faults_before:
            world.decisions.rest(HeldBack.NOTHING_SEEN)
        self._faults_before = self._faults

    def tracker_bytes(self) -> int:
        """32 bytes for each page: its struct page_info."""
        return 32 * len(self.history)

    def counters(self) -> dict[str, int]:
        return {"numa_hint_faults": self._faults, "pgpromote_candidate": self._candidates}
