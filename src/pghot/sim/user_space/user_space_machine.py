"""The machine as `pghot run` sees it, over the simulated one: move_pages(2) within a rate, above a free floor.

The rules are those of the live machine (`live/machine/linux.py`): the same token bucket, ping-pong guard, floor and
choice of what is demoted. One thread does all the work; what it does is charged to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pghot.arrays import U32
from pghot.engine.kmigrated import SECTION_PAGES
from pghot.policies.bucket import TokenBucket
from pghot.policies.decisions import HeldBack
from pghot.policies.live_rules import (
    AGEING_MS,
    BATCH_PAGES,
    FREE_FLOOR,
    LRU_AGEING_MS,
    OLDEST,
    RATE_LIMIT_MB_S,
)
from pghot.policies.machine import Moves
from pghot.policies.pingpong import PingPongGuard
from pghot.sim.machine.relocation import movable
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.user_space.unseen import longest_unseen, note_seen

THREAD = "pghot"
# move_pages(2) finds and isolates each page by a page-table walk, as its query does, which handles 6 to 7 million
# pages a second on the project's machine. The copy itself costs what it costs the kernel.
QUERY_NS = 154.0
# To ask the kernel's LRU for room, its generations are read and parsed (1.5 ms for 50 cgroups on two nodes, measured
# there too), and a section's pages are looked up to find out what went down.
LRU_ASK_NS = 1.5e6 + SECTION_PAGES * QUERY_NS
STATE_BYTES = (
    7  # for each page: mapping, place, age, heat, marks (live/machine/pages.py), number of its last scan
)


class UserSpaceMachine:
    """A `Machine` for policies that run live. `tick` once before each round of the policy."""

    def __init__(
        self, machine: SimulatedMachine, page_bytes: int, group_pages: float, *, unseen_is_cold: bool
    ) -> None:
        """group_pages  real pages that one page stands for
        unseen_is_cold  see `live_rules.unseen_is_cold`; else the kernel picks what is demoted, by its generations
        """
        self._machine, self._unseen_is_cold = machine, unseen_is_cold
        if not unseen_is_cold:  # else nobody asks for its generations: the kernel's own demotion is off
            machine.generations.ageing_ns = LRU_AGEING_MS * 1e6 / group_pages
        self._page_bytes, self._group_pages = page_bytes * group_pages, group_pages
        self.place, self.lower, self.rank = machine.place, machine.lower, machine.rank
        self.free_pages, self.capacity_pages = machine.free_pages, machine.capacity_pages
        self.high_pages, self.top_nodes = machine.high_pages, machine.top_nodes
        self.demotion_enabled = True  # a policy that demotes by itself switches it off
        self.now_ns = machine.now_ns
        self.budget_ends_with = HeldBack.RATE
        self.hash_list_step_ns = 0.0  # pghot's own hash table is no kernel list
        self._floor_pages = np.maximum(machine.high_pages, (machine.capacity_pages * FREE_FLOOR).astype(int))
        self._bucket = TokenBucket(RATE_LIMIT_MB_S, self._kernel_ns(), page_bytes=self._page_bytes)
        self._guard = PingPongGuard(self._kernel_ns() // 1_000_000)
        self.promoted = self.returned = 0
        pages = len(machine.place)
        self._seen = np.full(
            pages, -OLDEST, np.int32
        )  # number of the ageing period in which each was seen last
        self._last = np.zeros(pages, np.uint32)  # position of each page in the report that had it last
        self._was_promoted, self._was_demoted = np.zeros(pages, np.bool_), np.zeros(pages, np.bool_)

    @property
    def promotion_targets(self) -> Sequence[Sequence[int]]:
        return self._machine.promotion_targets

    @property
    def busy(self) -> bool:
        """Whether the last round is not over yet."""
        return self._machine.thread(THREAD).free_at_ns > self._machine.now_ns

    def tick(self) -> None:
        """Let time pass."""
        self.now_ns = self._machine.now_ns
        real = round(self.promoted * self._group_pages), round(self.returned * self._group_pages)
        self._guard.tick(self._kernel_ns() // 1_000_000, *real)
        self._bucket.refill(self._kernel_ns(), self._guard.share)

    def saw(self, page: U32, samples: float, sample_ns: float) -> None:
        """A source reported these pages: samples were read from rings, and the kernel was asked where the pages are."""
        different = note_seen(page, self._period(), self._seen, self._last)
        self._work(samples * sample_ns + min(samples, different) * QUERY_NS)

    def room(self, node: int) -> int:
        """Pages that can be put on `node` without crossing its floor."""
        return max(0, int(self.free_pages[node] - self._floor_pages[node]))

    def pages_in_budget(self, thread: str, sleep_ns: float = 0.0) -> int:
        """Pages that the rate limit and the ping-pong guard allow now."""
        return int(self._bucket.bytes_now() / self._page_bytes)

    def charge_tracking(self, app_ns: float, kernel_ns: float, thread: str) -> None:
        """Nothing: a policy's own time is part of what a sample costs."""

    def balance(self) -> None:
        """Nothing: pghot leaves the kernel's demotion off and makes room itself."""

    def migrate(self, page: U32, target: int, payer: str, batch_pages: int = BATCH_PAGES) -> Moves:
        """See `Machine.migrate`. `failed` are pages that found no room or no budget."""
        out = np.empty_like(page)
        page = out[: movable(page, self.place, target, out)]
        budget = self.pages_in_budget(payer)
        self._make_room(target, min(len(page), max(1, budget)))
        fit = min(len(page), budget, self.room(target))
        moved = self._put(page[:fit], target)
        climbed = moved if not self.lower[target] else moved[:0]
        self._bucket.spend(len(climbed) * self._page_bytes)
        self.promoted += len(climbed)
        self.returned += int(np.count_nonzero(self._was_demoted[climbed]))
        self._was_promoted[climbed] = True
        return Moves(moved, page[self.place[page] != target])

    def demote(self, page: U32, node: int, thread: str) -> int:
        """See `Machine.demote`."""
        done = 0
        for target in self._machine.demotion_targets[node]:
            went = self._put(page[: self.room(target)], target)
            self._was_demoted[went] = True
            done += len(went)
            page = page[self.place[page] == node]
        return done

    def _make_room(self, target: int, pages: int) -> None:
        """Demote what these pages need beyond what is free."""
        short = pages - self.room(target)
        if not self.demotion_enabled or short <= 0:
            return
        if self._unseen_is_cold:
            self.demote(self._coldest(target, short), target, THREAD)
        else:
            self._work(LRU_ASK_NS / self._group_pages)
            self._was_demoted[self._machine.demote_oldest(target, short, THREAD)] = True

    def _coldest(self, node: int, pages: int) -> U32:
        """Up to `pages` pages on `node`, longest unseen first, as `live/machine/demotion.py` picks them."""
        chosen: U32 = longest_unseen(
            node, pages, self._period(), self.place, self._seen, self._was_promoted, self._was_demoted
        )
        return chosen

    def _put(self, page: U32, target: int) -> U32:
        """Move the pages in batches; returns those that did."""
        if len(page) == 0:
            return page
        moved = self._machine.migrate(page, target, THREAD, BATCH_PAGES).moved
        self._work(len(page) * QUERY_NS)
        self._seen[moved] = self._period()
        return moved

    def _work(self, work_ns: float) -> None:
        self._machine.charge_tracking(0.0, work_ns, THREAD)

    def _period(self) -> int:
        return int(self._kernel_ns() // (AGEING_MS * 1_000_000))

    def _kernel_ns(self) -> int:
        return int(self._machine.now_ns * self._group_pages)
