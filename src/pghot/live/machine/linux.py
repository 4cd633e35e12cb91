"""The machine that we run on, as the policies see it: a `Machine` over the tracked programs.

Only pages of tracked programs are moved, of the kinds asked for, in batches, within a byte rate, and never so many that
the target falls below its free floor. Before anything moves, the journal is told where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import copy

import numpy as np

from pghot.arrays import U32, Bool
from pghot.kernel.shortage import ShortageError
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import SetKnob, Space
from pghot.live.machine.demotion import Demotion
from pghot.live.machine.eligibility import may_move
from pghot.live.machine.kernel_lru import KernelLru
from pghot.live.machine.mover import Mover, Origins
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.machine.nodes import LiveTopology
from pghot.live.machine.pace import Pace
from pghot.live.machine.pages import WOULD_MOVE
from pghot.live.machine.placement import HUGE_PAGES, Placement, joined
from pghot.live.machine.pools import Pools
from pghot.live.machine.rate_goal import RateGoal
from pghot.live.machine.room import Room
from pghot.live.machine.spaces import Spaces
from pghot.live.machine.whole_cgroups import WholeCgroups
from pghot.live.swap_tier.cold_pages import Compressing
from pghot.live.swap_tier.tier import CompressedTier
from pghot.policies.decisions import HeldBack
from pghot.policies.live_rules import AGEING_MS
from pghot.policies.machine import Moves


class LinuxMachine:
    """A `Machine` over the tracked spaces. `tick` once before each round of the policy.

    apply    False: a dry run; nothing moves, what would move is counted once for each page
    unseen_is_cold  see `live_rules.unseen_is_cold`
    cgroups  looks up the cgroups of the programs: the kernel may demote there when it picks the pages
    set_knob  as for a source
    tier     compressed swap, which the topology has as its last node; None without
    """

    def __init__(
        self,
        root: SysRoot,
        topology: LiveTopology,
        spaces: Spaces,
        settings: MoverSettings,
        *,
        apply: bool,
        journal: Origins | None,
        now_ns: int,
        unseen_is_cold: bool = True,
        cgroups: Callable[[], WholeCgroups] = WholeCgroups,
        set_knob: SetKnob = lambda path, value: None,
        tier: CompressedTier | None = None,
    ) -> None:
        self._spaces, self._apply = spaces, apply
        self.topology = topology
        self.place = spaces.pages.place
        self.rank = np.array(topology.rank, np.int64)
        self.lower = (self.rank > 0) & ~np.isin(np.arange(len(self.rank)), list(topology.left_out))
        self.below_top = np.zeros(256, np.bool_)  # by `place`, `NOWHERE` too
        self.below_top[: len(self.lower)] = self.lower
        self.capacity_pages = np.array(topology.capacity_pages, np.int64)
        self.high_pages = np.array(topology.high_pages, np.int64)
        self.top_nodes = topology.top_nodes
        self.demotion_enabled = True  # a policy that demotes by itself switches it off
        self.nodes = Room(root, topology, settings.free_floor, tier)
        self.pools = Pools(root, len(self.rank))
        self.free_pages, self.floor_pages = self.nodes.free_pages, self.nodes.floor_pages
        goal = None if settings.target is None else RateGoal(settings.target, now_ns // 1_000_000)
        self.pace = Pace(settings.rate_limit_mb_s, now_ns, goal=goal)
        self.placement = Placement(root, spaces, tier)
        self.mover = Mover(
            root,
            spaces,
            self.placement,
            self.nodes,
            self.pools,
            rank=self.rank,
            batch_pages=settings.batch_pages,
            journal=journal,
            tier=tier,
        )
        how = settings.room_by(unseen_is_cold)
        # The kernel's LRU demotes to whichever node it prefers.
        self.lru_would_not_leave_out = bool(topology.left_out) and how in ("lru_gen", "reclaim")
        if self.lru_would_not_leave_out:
            how = "off"
        self._demotion_off, lru = how == "off", None
        if how == "lru_gen" or how == "reclaim":
            lru = KernelLru(root, topology, spaces, self.placement, self.mover, how, cgroups, set_knob)
        self.lru = lru
        self.demotion = Demotion(
            spaces.pages, self.placement, self.mover, by_age=how == "move_pages", lru=lru
        )
        self.counts = self.mover.counts
        self._tier = tier
        self.compressing = None
        if tier is not None:
            self.compressing = Compressing(
                tier,
                spaces,
                self.placement,
                self.demotion,
                from_nodes=topology.lowest_nodes,
                put=self._put_out,
                rate_mb_s=settings.rate_limit_mb_s,
                cold_after_s=settings.cold_after_s,
                now_ns=now_ns,
            )
        self.now_ns: float = now_ns
        self.budget_ends_with = HeldBack.RATE
        self.hash_list_step_ns = 0.0  # what takes time here takes it by itself
        self._aged_ms = now_ns // 1_000_000

    @property
    def promotion_targets(self) -> Sequence[Sequence[int]]:
        return self.topology.promotion_targets

    def tick(self, now_ns: int) -> None:
        """Let time pass and read how much is free."""
        self.now_ns = now_ns
        self.nodes.read()
        self.pace.tick(now_ns, self.fast_used())
        now_ms = now_ns // 1_000_000
        if now_ms - self._aged_ms >= AGEING_MS:
            self._aged_ms = now_ms
            self._spaces.pages.grow_older()
        if self.lru is not None:
            self.lru.find()

    def fast_used(self) -> float:
        """The share of the fast nodes that is in use, as last read."""
        top = list(self.top_nodes)
        return 1 - float(self.free_pages[top].sum() / max(1, self.capacity_pages[top].sum()))

    def beside(self, rate_mb_s: float) -> LinuxMachine:
        """The same machine for a group of programs, which paces their promotions within its own pace.

        It is given the time by `pass_time`; everything else is shared.
        """
        other = copy(self)
        other.pace = Pace(rate_mb_s, int(self.now_ns), self.pace)
        return other

    def pass_time(self, now_ns: int) -> None:
        """Let time pass for a group."""
        self.now_ns = now_ns
        self.pace.tick(now_ns)

    def demote_cold(self) -> None:
        """Put what was not seen for long into the compressed tier, where there is one."""
        if self.compressing is not None:
            self.compressing.act(int(self.now_ns), self.counts.compressed, self.came_back)

    @property
    def came_back(self) -> int:
        """Pages that left the compressed tier, fetched by us or touched by their program."""
        return self.counts.fetched + self.placement.faulted

    @property
    def faulted(self) -> int:
        """See `Placement.faulted`."""
        return self.placement.faulted

    @property
    def lowest_margin(self) -> int | None:
        """See `Room.lowest_margin`."""
        return self.nodes.lowest_margin

    @property
    def promotion_share(self) -> float:
        """Part of the promotion rate that the ping-pong guard leaves."""
        return self.pace.share

    def in_memory(self, page: U32) -> Bool:
        """bool[K]: which of the pages are not in the compressed tier, as last heard."""
        if self._tier is None:
            return np.ones(len(page), np.bool_)
        inside: Bool = self.place[page] != self._tier.node
        return inside

    def takes_part(self, page: U32) -> Bool:
        """bool[K]: which of the pages are on no node that is left out, as last heard."""
        return ~np.isin(self.place[page], list(self.topology.left_out))

    def locate(self, page: U32) -> None:
        """Ask the kernel for the node of each page (uint32[K]) and remember it."""
        before = self.place[page]
        self.placement.locate(page)
        if self.lru is not None:
            self.lru.found(page, before)

    def survey(self, space: Space) -> Iterator[None]:
        """Find all movable pages of a space that are present, and write their origins when moves are allowed.

        Goes on, a section's worth at a time, as far as it is iterated. Out of descriptors it begins anew: pages whose
        origin is not written must not move.
        """
        done = False
        while not done:
            with suppress(ShortageError):
                for page in self.placement.survey(space):
                    if self._apply:
                        self.mover.write_origins(page)
                    yield
                done = True
            if not done:
                yield
        if self.lru is not None:
            self.lru.know(space)

    # ---- what may move

    def room(self, node: int) -> int:
        """See `Machine.room`."""
        return self.nodes.on(node)

    def pages_in_budget(self, thread: str, sleep_ns: float = 0.0) -> int:
        """Pages that the rate limit and the ping-pong guard allow now."""
        return self.pace.pages()

    def charge_tracking(self, app_ns: float, kernel_ns: float, thread: str) -> None:
        """Real time passes by itself."""

    def balance(self) -> None:
        """kswapd does that."""

    # ---- moving

    def migrate(self, page: U32, target: int, payer: str, batch_pages: int = 512) -> Moves:
        """See `Machine.migrate`. `failed` are pages that were busy, found no room or no budget, or could not be asked
        about."""
        page = self._candidates(page, target)
        try:
            return self._migrate(page, target, payer)
        except ShortageError:
            there = self.place[page] == target
            return Moves(page[there], page[~there])

    def _migrate(self, page: U32, target: int, payer: str) -> Moves:
        if not self._apply:
            fresh = self._pretend(page, target)
            if self.mover.watcher is not None:
                self.mover.watcher.moved(fresh, self.place[fresh], target, "move_pages")
            self.counts.promoted += len(fresh)
            self.pace.promoted += len(fresh)
            return Moves(fresh, page[:0])
        self._spaces.notice_folios()
        self._make_room(page, target, self.pages_in_budget(payer))
        rest, failed = page, []
        while len(rest) and (budget := self.pages_in_budget(payer)):
            end = self.placement.first_within(rest, budget)
            before, came_back = self.counts.promoted, self.counts.returned
            moves = self.mover.move(rest[:end], target)
            self.pace.spend(self.counts.promoted - before, self.counts.returned - came_back)
            failed.append(moves.failed)
            rest = self._candidates(rest[end:], target)
            if len(moves.moved) == 0:
                break
        left = joined([*failed, rest])
        return Moves(page[self.place[page] == target], left[self.place[left] != target])

    def _candidates(self, page: U32, target: int) -> U32:
        """Those of the pages that are elsewhere, still are movable, and were not busy too often."""
        state, fit = self._spaces.pages, np.empty(len(page), np.bool_)
        may_move(state.kind, state.place, state.marks, page, target, fit)
        return page[fit]

    def _make_room(self, page: U32, target: int, budget: int) -> None:
        """Demote as much as these pages need beyond what is free, within the budget or for one folio. What a hugetlb
        page leaves is free for others of its pool only."""
        pooled = self._spaces.pooled(page)
        for room, part in ((self.nodes, page[~pooled]), (self.pools, page[pooled])):
            free, most = room.on(target) if len(part) else 0, max(HUGE_PAGES, budget)
            if not self.demotion_enabled or min(self.placement.at_most(part), most) <= free:
                continue
            if (short := min(self.placement.with_folios(part), most) - free) > 0:
                below = self.topology.demotion_targets[target]
                now_ms = int(self.now_ns) // 1_000_000
                self.demotion.make_room(target, short, below, now_ms, room is self.pools)
                self.nodes.read()

    def demote(self, page: U32, node: int, thread: str) -> int:
        """See `Machine.demote`. With demotion "off" nothing is demoted, even if a policy asks for it."""
        if self._demotion_off:
            return 0
        below = self.topology.demotion_targets[node]
        if self._apply:
            return self.demotion.demote(page, below)
        went = sum(len(self._pretend(page, target)) for target in below)
        self.counts.demoted += went
        return went

    def _put_out(self, page: U32, target: int) -> None:
        """Move cold pages to the compressed tier, or count them in a dry run."""
        if self._apply:
            self.mover.move(page, target)
            self.nodes.read()
            return
        count = len(self._pretend(page, target))
        self.counts.demoted += count
        self.counts.compressed += count

    def _pretend(self, page: U32, target: int) -> U32:
        """Those of the pages that would move and were not counted before, as many as the target has room for; hugetlb
        pages whole."""
        pooled = self._spaces.pooled(page)
        fresh = self._pretend_in(self.nodes, page[~pooled], target)
        if not pooled.any():
            return fresh
        whole = self.placement.block_pages(self.placement.heads(page[pooled]))
        return joined([fresh, self._pretend_in(self.pools, whole, target)])

    def _pretend_in(self, room: Room | Pools, page: U32, target: int) -> U32:
        marks = self._spaces.pages.marks
        wanted: U32 = page[(marks[page] & WOULD_MOVE) == 0]
        fresh = wanted[: room.on(target)]
        if room is self.pools:
            self.pools.refuse(target, (len(wanted) - len(fresh)) // HUGE_PAGES)
        marks[fresh] |= WOULD_MOVE
        room.pretend(target, len(fresh))
        return fresh
