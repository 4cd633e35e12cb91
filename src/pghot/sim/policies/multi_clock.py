"""MULTI-CLOCK (HPCA 2022): a third list above active and inactive, of pages that are to be promoted.

One thread for each node below the top tier wakes up every second and looks at the A-bits of up to 1024 pages of each
of its lists, from the tail on. A page of the inactive list that was accessed since its last look becomes active; an
active one that was accessed again goes to the promote list; all that the thread meets on that list is promoted. What
was not accessed goes around once more. So the second access promotes, if each falls between two looks. kswapd demotes.

Neither the paper nor its code was at hand: the rules and both constants are those of a port of it to a kernel module
(KTMM, ktmm_vmscan.c, scan_inactive_list() to scan_node()), and unverified. Choices of ours: pages come to the inactive
list, whether they were allocated or demoted there; active pages do not go back to it; a page that finds no room stays
on the promote list. A look takes 100 ns (est., one walk of the reverse map) of the thread, and a cleared bit 200 ns of
the program (est.), as with the sources of the lab that read A-bits.

Not modelled: lists for anonymous and file pages apart; that kswapd reads and clears the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from pghot.arrays import NOWHERE, U32, Bool
from pghot.carry import Carry
from pghot.engine.accesses import Accesses, Source
from pghot.parameters import MOST, Knob, check_knobs
from pghot.policies.decisions import HeldBack, Moved
from pghot.sim.lab_world import LabWorld
from pghot.ties import from_first

LOOK_NS = 100.0
CLEARED_NS = 200.0


def empty() -> U32:
    return np.empty(0, np.uint32)


@dataclass(slots=True)
class Lists:
    """The lists of a node, as uint32 arrays of pages. The first is the one at the tail, which is looked at next."""

    inactive: U32 = field(default_factory=empty)
    active: U32 = field(default_factory=empty)
    promote: U32 = field(default_factory=empty)


class MultiClock:
    """Inactive, active, promote: a page climbs by one list at each look that finds it accessed.

    scan_pages  of each list, that are looked at in each period
    period_ms   kernel ms between two rounds
    """

    name = "multi-clock"
    summary = (
        "MULTI-CLOCK: a promote list above the active one, fed by A-bits of 1024 pages a list and second"
    )
    kind = "mover"
    default_sources: tuple[str, ...] = ()
    any_source = False
    runs_live = False
    awaits = "MULTI-CLOCK's kernel"

    def __init__(
        self,
        scan_pages: Annotated[int, Knob(1, MOST, 64, 1 << 20)] = 1024,
        period_ms: Annotated[float, Knob(1, MOST, 100, 60_000)] = 1000.0,
    ) -> None:
        check_knobs(self.name, type(self), locals())
        self.scan_pages, self.period_ms = scan_pages, period_ms

    def start(self, world: LabWorld) -> None:
        world.machine.demotion_enabled = True
        self._lists = {int(node): Lists() for node in np.flatnonzero(world.machine.lower)}
        self._listed = np.full(world.pages, NOWHERE, np.uint8)  # the node on whose lists a page is
        self._looked = np.zeros(world.pages, np.uint32)  # ageing walks before the last look at it
        self._granted = Carry()
        self._next_ms, self._last_ms = self.period_ms, 0.0
        self._candidates = 0

    def observe(self, world: LabWorld, source: Source, accesses: Accesses) -> None:
        """Listens to no source: the A-bits are all it needs."""

    def act(self, world: LabWorld) -> None:
        world.machine.balance()
        if world.now_ms < self._next_ms:
            return
        periods, self._last_ms = (world.now_ms - self._last_ms) / self.period_ms, world.now_ms
        self._next_ms = world.now_ms + self.period_ms
        many = self._granted.whole(self.scan_pages * periods / world.group_pages)
        if many and sum(self._round(world, node, many) for node in self._lists) == 0:
            world.decisions.rest(HeldBack.NOTHING_SEEN)

    def _round(self, world: LabWorld, node: int, many: int) -> int:
        """Look at so many pages of each list of `node`; returns how many were accessed."""
        lists = self._lists[node]
        self._list_arrivals(world, node)
        page, accessed, rest = self._look(world, lists.inactive, many)
        world.decisions.hold(page[accessed], HeldBack.THRESHOLD)
        lists.inactive = np.concatenate([rest, page[~accessed]])
        lists.active = np.concatenate([lists.active, page[accessed]])
        again, accessed_again, rest = self._look(world, lists.active, many)
        lists.active = np.concatenate([rest, again[~accessed_again]])
        lists.promote = np.concatenate([lists.promote, again[accessed_again]])
        self._candidates += int(np.count_nonzero(accessed_again))
        stayed = self._promote(world, node, lists.promote[:many])
        lists.promote = np.concatenate([lists.promote[many:], stayed])
        return int(np.count_nonzero(accessed) + np.count_nonzero(accessed_again))

    def _list_arrivals(self, world: LabWorld, node: int) -> None:
        """Put pages that came to `node` on its inactive list, and take those that left off its lists."""
        here = world.machine.place == node
        self._listed[(self._listed == node) & ~here] = NOWHERE
        lists = self._lists[node]
        for name in ("inactive", "active", "promote"):
            page = getattr(lists, name)
            setattr(lists, name, page[self._listed[page] == node])
        came = from_first(np.flatnonzero(here & (self._listed != node)).astype(np.uint32), world.first_page)
        self._listed[came] = node
        lists.inactive = np.concatenate([lists.inactive, came])

    def _look(self, world: LabWorld, pages: U32, many: int) -> tuple[U32, Bool, U32]:
        """Look at the first `many` of the list: these, which of them were accessed since their last look, the rest."""
        page, generations = pages[:many], world.machine.generations
        young = generations.young[page] > 0
        # An ageing walk that cleared the bit has put the page into its generation.
        accessed = young | (generations.generation[page] > self._looked[page])
        generations.young[page] = 0
        generations.generation[page[young]] = generations.sequence
        self._looked[page] = generations.sequence
        world.machine.charge_tracking(
            int(np.count_nonzero(accessed)) * CLEARED_NS, len(page) * LOOK_NS, self.name
        )
        return page, accessed, pages[many:]

    def _promote(self, world: LabWorld, node: int, page: U32) -> U32:
        """Promote pages of `node`; returns those that found no room, or for which there was no time."""
        machine = world.machine
        budget = machine.pages_in_budget(self.name, self.period_ms * 1e6 / world.group_pages)
        page, beyond = page[:budget], page[budget:]
        world.decisions.hold(beyond, machine.budget_ends_with)
        world.decisions.move(page, Moved.HOT)
        moves = machine.migrate(page, machine.promotion_targets[node][0], self.name)
        self._listed[moves.moved] = NOWHERE
        world.decisions.hold(moves.failed, HeldBack.FREE_SPACE)
        return np.concatenate([beyond, moves.failed])

    def tracker_bytes(self) -> int:
        """0: the kernel links pages into lists anyway, and a page flag says which is on the promote list."""
        return 0

    def counters(self) -> dict[str, int]:
        return {"pgpromote_candidate": self._candidates}
