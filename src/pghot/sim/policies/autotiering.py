"""AutoTiering (ATC 2021): a hint fault promotes; where the fast tier is full, a page that was accessed less goes down.

Each page has a history of 8 bits: whether it was accessed between the last scans. Their sum is its level; a new page
begins with all bits set. A fault below the top tier promotes while its target has more free than its high watermark.
Beyond that the faulting thread demotes one of the pages of the lowest level there, if that is below the faulting page's
own, and promotes in its place ("opportunistic", OPM, with demotion on demand, as its code is set up). Of pages of a
level, one that the last scan found untouched goes first. Without that it is the "conservative" one (CPM). Constants and
rules are those of its patch for Linux 5.3 (mm/page_balancing.c, mm/migrate.c, mm/mprotect.c); the paper was not read.

Choices of ours: the policy does not see the scanner, so a scan of all memory is taken to come as often as the lab's can
at most, once a second or, above 2.5 GiB, in the time that 2.5 GiB a second take; pages that are alike go in the order
of their numbers. A page that came or moved since the last scan is not demoted, as it is on none of the patch's lists.

Not modelled: the demotion of file pages first, whatever their level; the pool of reserved pages with demotion in the
background, and the exchange of two pages, both off by default; migration to another node of a lower tier when the
target is busy; migration between the nodes of the top tier.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numba import njit

from pghot.arrays import NOWHERE, U8, U32
from pghot.engine.accesses import Accesses, Source
from pghot.parameters import MOST, Knob, check_knobs
from pghot.policies.decisions import HeldBack, Moved
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.move_costs import HINT_FAULT
from pghot.ties import from_first

SCAN_MS = 1000.0
SCAN_BYTES_MS = (2560 << 20) / 1000  # bytes that the scanner marks in a ms at most


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
    scan_ms        kernel ms of a scan of all memory, at least
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

    def __init__(
        self, opportunistic: bool = True, scan_ms: Annotated[float, Knob(1, MOST, 100, 60_000)] = SCAN_MS
    ) -> None:
        check_knobs(self.name, type(self), locals())
        self.opportunistic, self.scan_ms = opportunistic, scan_ms

    def start(self, world: LabWorld) -> None:
        world.machine.demotion_enabled = False  # Linux 5.3 has none
        self._history = np.full(world.pages, 0xFF, np.uint8)
        self._accessed = np.zeros(world.pages, np.uint8)  # since the last scan
        self._listed = np.full(world.pages, NOWHERE, np.uint8)  # the node on which the last scan found a page
        self._next_ms = 0.0
        self._faults = self._faults_before = self._candidates = 0

    def observe(self, world: LabWorld, source: Source, accesses: Accesses) -> None:
        machine = world.machine
        below = accesses.only(machine.lower[machine.place[accesses.page]])
        self._faults += len(below)
        for node in np.unique(below.node):
            self._promote(world, below.page[below.node == node], machine.promotion_targets[node][0])
        self._accessed[accesses.page] = 1

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
        world.decisions.hold(machine.migrate(fits, target, HINT_FAULT).failed, HeldBack.FREE_SPACE)

    def _level(self, page: U32) -> U8:
        """uint8[K]: how many of the last 8 scans found each page accessed."""
        return np.bitwise_count(self._history[page])

    def _cold(self, world: LabWorld, node: int) -> U32:
        """The pages that the last scan found on `node` and that are still there, those first that are to go first."""
        there = (self._listed == node) & (world.machine.place == node)
        page = from_first(np.flatnonzero(there).astype(np.uint32), world.first_page)
        return page[np.argsort(2 * self._level(page) + (self._history[page] & 1), kind="stable")]

    def _demote(self, world: LabWorld, cold: U32, node: int) -> int:
        """Demote pages one by one in the faulting threads; returns how many went."""
        world.decisions.move(cold, Moved.COLD)
        world.machine.demote(cold, node, "app")
        went = cold[world.machine.place[cold] != node]
        self._listed[went] = NOWHERE
        return len(went)

    def act(self, world: LabWorld) -> None:
        if self._faults == self._faults_before:
            world.decisions.rest(HeldBack.NOTHING_SEEN)
        self._faults_before = self._faults
        if world.now_ms >= self._next_ms:
            self._scan(world)

    def _scan(self, world: LabWorld) -> None:
        placed = world.machine.place != NOWHERE
        self._history[placed] = (self._history[placed] << 1) | self._accessed[placed]
        self._accessed[:] = 0
        self._listed[:] = world.machine.place
        resident = int(np.count_nonzero(placed)) * world.page_bytes * world.group_pages
        self._next_ms = world.now_ms + max(self.scan_ms, resident / SCAN_BYTES_MS)

    def tracker_bytes(self) -> int:
        """32 bytes for each page: its struct page_info."""
        return 32 * len(self._history)

    def counters(self) -> dict[str, int]:
        return {"numa_hint_faults": self._faults, "pgpromote_candidate": self._candidates}
