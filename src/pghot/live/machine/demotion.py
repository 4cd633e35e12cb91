"""Making room on a full node: which pages go down to the next tier.

pghot picks the tracked pages that were not seen for longest and moves them itself, or it lets the kernel pick among
the memory of the tracked cgroups.
"""

from __future__ import annotations

import contextlib

import numpy as np

from pghot.arrays import U32
from pghot.errors import UsageError
from pghot.kernel.cgroup import cgroup_path, memory_cgroups
from pghot.kernel.lru_gen import age, demote_oldest, read_lru_gen
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.mover import Mover
from pghot.live.machine.mover_settings import DemotionKind
from pghot.live.machine.nodes import free_pages_on
from pghot.live.machine.pages import DEMOTED, PROMOTED, Pages
from pghot.live.machine.placement import Placement
from pghot.policies.live_rules import AGEING_MS, COLD_AGE, OLDEST, RETURNED_AGE
from pghot.units import PAGE_BYTES


class Demotion:
    """Makes room in one of the ways of `DemotionKind`.

    cgroups  where the kernel may demote: cgroups of which every program is tracked
    """

    def __init__(
        self,
        root: SysRoot,
        pages: Pages,
        placement: Placement,
        mover: Mover,
        how: DemotionKind,
        cgroups: tuple[str, ...] = (),
    ) -> None:
        self._root, self._how, self._cgroups = root, how, cgroups
        self._pages, self._placement, self._mover = pages, placement, mover
        self._aged_ms: dict[tuple[str, int], int] = {}

    def make_room(self, node: int, pages: int, targets: tuple[int, ...], now_ms: int) -> None:
        """Free `pages` of `node`, as far as it can. `targets` are the nodes below, the preferred one first."""
        if self._how == "move_pages":
            self.demote(self.coldest(node, pages), targets)
        elif self._how != "off" and targets:
            self._let_the_kernel(node, pages, targets, now_ms)

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

    def coldest(self, node: int, pages: int, age: int = COLD_AGE) -> U32:
        """Up to `pages` movable pages on `node`, longest unseen first; only those at least `age` old,
        `RETURNED_AGE` when they were demoted and came back."""
        page = self._placement.movable_on(node)
        ages = self._placement.ages(page)
        both = PROMOTED | DEMOTED
        returned = (self._pages.marks[page] & both) == both
        old = ages >= np.where(returned, max(RETURNED_AGE, age), age)
        cold, ages = page[old], ages[old]
        if len(cold) <= pages:
            return cold
        chosen: U32 = cold[np.argsort(OLDEST - ages, kind="stable")[:pages]]
        return chosen

    def _let_the_kernel(self, node: int, pages: int, targets: tuple[int, ...], now_ms: int) -> None:
        """The journal gets all pages that may go first; what did go is looked up afterwards."""
        held = self._placement.movable_on(node)
        for space, mine, _ in self._placement.by_space(held):
            self._mover.write_origins(space, mine)
        before = self._pages.place[held].copy()
        wanted = free_pages_on(self._root, node) + pages
        for cgroup in self._cgroups:
            short = wanted - free_pages_on(self._root, node)
            if short <= 0:
                break
            # EAGAIN: less than asked for could be reclaimed; a cgroup may be gone by now.
            with contextlib.suppress(OSError, UsageError):
                if self._how == "reclaim":
                    self._root.write(f"{cgroup_path(cgroup)}/memory.reclaim", str(short * PAGE_BYTES))
                else:
                    self._evict(cgroup, node, short, now_ms)
        self._placement.locate(held)
        for target in targets:
            self._mover.count(held, before, target)

    def _evict(self, cgroup: str, node: int, pages: int, now_ms: int) -> None:
        """Demote the oldest generations of the cgroup and of those below it. Only ageing
        makes generations, and nobody else asks for it while pages are free."""
        memcgs = memory_cgroups(self._root, cgroup)
        if now_ms - self._aged_ms.get((cgroup, node), 0) >= AGEING_MS:
            self._aged_ms[cgroup, node] = now_ms
            here = [each for each in read_lru_gen(self._root) if each.path in memcgs and each.node == node]
            for newest in {each.memcg: each for each in here}.values():
                age(self._root, newest)
        demote_oldest(self._root, memcgs, node, pages)
