"""Making room on a full node: which pages go down to the next tier.

pghot picks the tracked pages that were not seen for longest and moves them itself, where a source would have seen them.
Else the kernel's LRU picks.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import U8, U32
from pghot.live.machine.coldest import coldest
from pghot.live.machine.kernel_lru import KernelLru
from pghot.live.machine.mover import Mover
from pghot.live.machine.pages import DEMOTED, PROMOTED, Pages
from pghot.live.machine.placement import Placement
from pghot.policies.live_rules import COLD_AGE, RETURNED_AGE


class Demotion:
    """Makes room.

    by_age  the tracked pages that were not seen for longest go
    lru     else it is asked; None: nothing goes
    """

    def __init__(
        self, pages: Pages, placement: Placement, mover: Mover, *, by_age: bool, lru: KernelLru | None
    ) -> None:
        self._pages, self._placement, self._mover = pages, placement, mover
        self._by_age, self.lru = by_age, lru

    def make_room(
        self, node: int, pages: int, targets: tuple[int, ...], now_ms: int, pooled: bool = False
    ) -> None:
        """Free `pages` of `node`, or of its pool of hugetlb pages, as far as it can. `targets` are the nodes below, the
        preferred one first."""
        if not targets:
            return
        if self._by_age:
            self.demote(self.coldest(node, pages, pooled=pooled), targets)
        elif self.lru is not None and not pooled:
            self.lru.make_room(node, pages, now_ms)

    def demote(self, page: U32, targets: tuple[int, ...]) -> int:
        """Move pages to the first of `targets` that has room; returns how many went."""
        done = 0
        for target in targets:
            if len(page) == 0:
                break
            moves = self._mover.move(page, target)
            done += len(moves.moved)
            page = moves.failed
        return done

    def coldest(self, node: int, pages: int, age: int = COLD_AGE, pooled: bool = False) -> U32:
        """Up to `pages` movable pages on `node`, longest unseen first; only those at least `age` old,
        `RETURNED_AGE` when they were demoted and came back. `pooled`: pages of hugetlb pools, else only others."""

        def look(section: int) -> tuple[U32, U8]:
            page, ages = self._placement.aged(section, node)
            both = PROMOTED | DEMOTED
            returned = (self._pages.marks[page] & both) == both
            old = ages >= np.where(returned, max(RETURNED_AGE, age), age)
            return page[old], ages[old]

        sections = self._placement.sections(pooled)
        return coldest(sections, self._pages.bound_ages(sections, node), age, pages, look)
