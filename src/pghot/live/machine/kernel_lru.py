"""Room by the kernel's own LRU: the kernel sees what is used on every node, whatever the sources see.

It picks among the memory of cgroups. What it demoted is found out afterwards, a part of the programs' memory in each
round; pages that a source reports meanwhile are found at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from pghot.arrays import U8, U32
from pghot.errors import PghotError, UsageError
from pghot.kernel.cgroup import cgroup_path, memory_cgroups
from pghot.kernel.knob_files import DEMOTION_ENABLED
from pghot.kernel.lru_gen import age, demote_oldest, lru_gen_need, read_lru_gen
from pghot.kernel.needs import require
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import SetKnob, Space
from pghot.live.machine.mover import Mover
from pghot.live.machine.nodes import LiveTopology, free_pages_on
from pghot.live.machine.placement import Placement
from pghot.live.machine.spaces import Spaces
from pghot.live.machine.whole_cgroups import WholeCgroups
from pghot.policies.live_rules import LRU_AGEING_MS
from pghot.units import PAGE_BYTES

LOOK_MS = 1000  # the cgroups of the programs are looked up so often
TROUBLE_MS = 10_000  # so long after the last wish for room its trouble counts as lasting


class KernelLru:
    """Has the kernel demote.

    how       "lru_gen": the oldest generations of the multi-gen LRU; "reclaim": memory.reclaim, on all nodes
    cgroups   looks up where it may
    withheld  pages for which room was wanted while no cgroup could be asked
    """

    def __init__(
        self,
        root: SysRoot,
        topology: LiveTopology,
        spaces: Spaces,
        placement: Placement,
        mover: Mover,
        how: Literal["lru_gen", "reclaim"],
        cgroups: Callable[[], WholeCgroups],
        set_knob: SetKnob,
    ) -> None:
        self._root, self._topology, self._spaces = root, topology, spaces
        self._placement, self._mover, self._how = placement, mover, how
        self._cgroups, self._set_knob = cgroups, set_knob
        self._whole = WholeCgroups()
        self._trouble = ""
        self._looked_ms = self._wanted_ms = -TROUBLE_MS
        self._in_vain_ms: int | None = None  # since when it was asked and freed nothing
        self._aged_ms: dict[tuple[str, int], int] = {}
        self._demotes = self._unknown = False
        self._known: set[int] = set()  # spaces whose origins are in the journal
        self._new: Iterator[None] | None = None  # a look at the programs of which the journal knows nothing
        self._pass: Iterator[None] | None = None
        self.withheld = 0

    def make_room(self, node: int, pages: int, now_ms: int) -> None:
        """Free `pages` of `node`, as far as the LRU has old ones."""
        self._wanted_ms = now_ms
        if now_ms - self._looked_ms >= LOOK_MS:
            self._looked_ms = now_ms
            self._look_up()
        if not self._whole.names:
            self.withheld += pages
            return
        self._unknown = True
        if self._new is None and (
            new := [each for each in self._spaces.spaces if each.number not in self._known]
        ):
            self._new = self._look(new)
        if self._new is not None:
            return  # the journal comes first
        before = free_pages_on(self._root, node)
        wanted = before + pages
        for cgroup in self._whole.names:
            if (short := wanted - free_pages_on(self._root, node)) <= 0:
                break
            # EAGAIN: less than asked for could be reclaimed; a cgroup may be gone by now.
            with contextlib.suppress(OSError, UsageError):
                if self._how == "reclaim":
                    self._root.write(f"{cgroup_path(cgroup)}/memory.reclaim", str(short * PAGE_BYTES))
                else:
                    self._evict(cgroup, node, wanted, now_ms)
        if free_pages_on(self._root, node) > before:
            self._in_vain_ms = None
        elif self._in_vain_ms is None:
            self._in_vain_ms = now_ms

    def know(self, space: Space) -> None:
        """The journal has the origins of all its pages."""
        self._known.add(space.number)

    def trouble(self, now_ms: int) -> str:
        """Why some or all of the programs' memory is not demoted, and what to do; "" while no room is wanted."""
        if now_ms - self._wanted_ms >= TROUBLE_MS:
            return ""
        if not self._trouble and self._in_vain_ms is not None and now_ms - self._in_vain_ms >= TROUBLE_MS:
            return (
                "it finds nothing old there, and what is hot below waits; all of the fast node may be in use"
            )
        return self._trouble

    def find(self) -> None:
        """Look at a part of the programs' memory. All of it has its turn after a wish for room, new programs first."""
        if self._new is not None:
            for _ in self._new:
                return
            self._new = None
        if self._pass is None and self._unknown:
            self._unknown, self._pass = False, self._look(self._spaces.spaces)
        if self._pass is not None:
            for _ in self._pass:
                return
            self._pass = None

    def find_all(self) -> None:
        """As `find`, to the end."""
        while self._new is not None or self._pass is not None or self._unknown:
            self.find()

    def found(self, page: U32, before: U8) -> None:
        """These pages were located just now, and were on the nodes `before` (uint8[K]) as last heard."""
        if self._demotes:
            for node in self._topology.lower:
                self._mover.count(page, before, node, "the kernel's LRU")

    def _look_up(self) -> None:
        """Where the kernel may be asked, with its demotion on. Trouble leaves no cgroup."""
        self._trouble, self._whole = "", WholeCgroups()
        for node, why in self._topology.left_out.items():
            self._trouble = f"it may choose node {node}, which is left out: {why}; name the node slow"
            return
        try:
            if self._how == "lru_gen":
                require("lru_gen", [lru_gen_need(self._root)])
            whole = self._cgroups()
            if whole.names and not self._demotes:
                self._set_knob(DEMOTION_ENABLED, "true")
                self._demotes = True
        except PghotError as error:
            self._trouble = f"{error}; {error.hint}"
            return
        if self._root.read_or(DEMOTION_ENABLED) in ("true", "1"):  # else pages would be swapped out
            self._whole = whole
        self._trouble = whole.trouble

    def _evict(self, cgroup: str, node: int, wanted: int, now_ms: int) -> None:
        """Demote the oldest generations of the cgroup and of those below it, until so many pages are free. When they
        are used up, only ageing makes others, and nobody else asks for it while pages are free."""
        memcgs = memory_cgroups(self._root, cgroup)
        demote_oldest(self._root, memcgs, node, wanted - free_pages_on(self._root, node))
        short = wanted - free_pages_on(self._root, node)
        if short <= 0 or now_ms - self._aged_ms.get((cgroup, node), -LRU_AGEING_MS) < LRU_AGEING_MS:
            return
        self._aged_ms[cgroup, node] = now_ms
        here = [each for each in read_lru_gen(self._root) if each.path in memcgs and each.node == node]
        for newest in {each.memcg: each for each in here}.values():
            with contextlib.suppress(OSError):  # it is gone by now; the others are not
                age(self._root, newest)
        demote_oldest(self._root, memcgs, node, short)

    def _look(self, spaces: Sequence[Space]) -> Iterator[None]:
        """Find out what went down, and write into the journal where the pages are that it does not know yet."""
        for space in spaces:
            for page, before in self._placement.look(space):
                self.found(page, before)
                self._mover.write_origins(page)
                yield
            self.know(space)
