"""DAMOS as the kernel's own sample for memory tiers sets it up (samples/damon/mtier.c; mm/damon/core.c, ops-common.c).

Two schemes with the constants of FACTS 4, applied once a second. migrate_hot brings regions with accesses to the fast
node, migrate_cold takes those without any away. Each has a quota of 200 MiB a second, and a goal that tunes it:

* 99.7 % of the fast node are to be in use, or 0.5 % to be free. The quota begins with a byte. Each second it changes by
  as much as the goal is missed: at half the goal it grows by a half, at 1.2 times it shrinks by a fifth.
* If more fits the pattern than the quota allows, regions go by priority: accesses (of 20 samples) and age count alike.
  Age is how long the count stayed as it is, in steps of powers of two; it makes what is accessed hotter and what is not
  colder. What has the last priority that is still within the quota goes in the order of addresses.

Not modelled: that the sample watches physical memory of each node, whose neighbours need not be neighbours in the
program; here regions are those of its address space, and each scheme takes the pages of them that are on its node. The
filter by page age of newer kernels. The age of a region is counted for its pages, so that merging mixes no ages.

Unverified: that accesses and age count alike, and that schemes are applied once a second; the file was not at hand.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from pghot.arrays import I64, U32
from pghot.carry import Carry
from pghot.engine.accesses import Accesses, Source
from pghot.parameters import Knob, check_knobs
from pghot.policies.decisions import HeldBack, Moved
from pghot.policies.policy import World
from pghot.ties import from_first

MIB = 1 << 20
APPLY_MS = 1000.0
AGGREGATE_MS = 100.0
SAMPLES = 20  # of an aggregation: the most accesses that a region can have
GOAL = 10_000
MAX_SCORE = 99  # DAMOS_MAX_SCORE
PAYER = "damon"  # kdamond both watches and moves


def next_quota(last: float, score: float) -> float:
    """damon_feed_loop_next_input(): the next quota, bytes, from the last one and what it reached (10,000: the goal).

    >>> [next_quota(1000, score) for score in (0, 5000, 10000, 12000, 20000)]
    [2000.0, 1500.0, 1000.0, 800.0, 1.0]
    """
    return max(1.0, last + last * (GOAL - score) / GOAL)


def hotness(accesses: I64, age: I64) -> I64:
    """damon_hot_score(): 0 to 99, of regions with so many accesses that have stayed so for `age` aggregations.

    >>> hotness(np.array([20, 1, 0, 0]), np.array([0, 40, 0, 40])).tolist()
    [74, 28, 24, 21]
    """
    frequency = accesses * 100 // SAMPLES
    seconds = (age * AGGREGATE_MS / 1000).astype(np.int64)
    steps = np.minimum(32, np.frexp(seconds.astype(np.float64))[1]).astype(np.int64)
    steps = np.where(frequency == 0, -steps, steps) + 32
    both = (100 * frequency + 100 * (steps * 100 // 32 // 2)) // 200
    scaled: I64 = both * MAX_SCORE // 100
    return scaled


def by_priority(page: U32, score: I64, pages: int) -> U32:
    """The first `pages` of those whose score is within the quota.

    >>> by_priority(np.array([1, 2, 3, 4], np.uint32), np.array([5, 9, 5, 1]), 2).tolist()
    [1, 2]
    """
    from_best = np.cumsum(np.bincount(score, minlength=MAX_SCORE + 1)[::-1])
    least = MAX_SCORE - int(np.searchsorted(from_best, min(pages, len(page))))
    return page[score >= least][:pages]


class Damos:
    """migrate_hot and migrate_cold, each with a quota that a goal tunes.

    used, free   shares of the fast node that are to be in use, and to be free
    quota_mb_s   that either may move at most, MiB/s
    """

    name = "damos"
    summary = "DAMOS: migrate_hot and migrate_cold with quotas and goals, as the kernel's tiering sample"
    kind = "mover"
    default_sources: tuple[str, ...] = ("damon",)
    any_source = False
    runs_live = False
    demotes = True
    awaits = ""

    def __init__(
        self,
        used: Annotated[float, Knob(0.0001, 1, 0.9, 1)] = 0.997,
        free: Annotated[float, Knob(0.0001, 1, 0.001, 0.1)] = 0.005,
        quota_mb_s: Annotated[float, Knob(0, 1e9, 16, 65536)] = 200.0,
    ) -> None:
        check_knobs(self.name, type(self), locals())
        self.used, self.free, self.quota_mb_s = used, free, quota_mb_s

    def start(self, world: World) -> None:
        world.machine.demotion_enabled = False  # it demotes by itself
        self._accesses, self._age = np.zeros(world.pages, np.int64), np.zeros(world.pages, np.int64)
        self._hot_bytes = self._cold_bytes = 0.0
        self._hot_granted, self._cold_granted = Carry(), Carry()
        self._reports = 0
        self._next_ms = APPLY_MS

    def observe(self, world: World, source: Source, accesses: Accesses) -> None:
        now = np.zeros_like(self._accesses)
        now[accesses.page] = accesses.count
        threshold = int(now.max(initial=0)) // 10
        same = (np.abs(now - self._accesses) <= threshold) & ((now == 0) == (self._accesses == 0))
        self._age = np.where(same, self._age + 1, 0)
        self._accesses = now
        self._reports += 1

    def act(self, world: World) -> None:
        if world.now_ms < self._next_ms:
            return
        self._next_ms = world.now_ms + APPLY_MS
        if self._reports == 0:
            world.decisions.rest(HeldBack.NOTHING_SEEN)
        self._reports = 0
        machine, fast = world.machine, world.fast_node
        free = int(machine.free_pages[fast]) / int(machine.capacity_pages[fast])
        self._cold_bytes = next_quota(max(1.0, self._cold_bytes), GOAL * free / self.free)
        self._hot_bytes = next_quota(max(1.0, self._hot_bytes), GOAL * (1 - free) / self.used)
        cold = self._chosen(world, np.arange(len(machine.lower)) == fast, self._accesses == 0)
        score = MAX_SCORE - hotness(self._accesses[cold], self._age[cold])
        self._demote(
            world, by_priority(cold, score, self._quota(world, self._cold_bytes, self._cold_granted))
        )
        hot = self._chosen(world, machine.lower, self._accesses > 0)
        score = hotness(self._accesses[hot], self._age[hot])
        page = by_priority(hot, score, self._quota(world, self._hot_bytes, self._hot_granted))
        world.decisions.hold(hot[~np.isin(hot, page)], HeldBack.RATE)
        self._promote(world, page)

    def _quota(self, world: World, tuned_bytes: float, granted: Carry) -> int:
        """Pages of this second. The kernel moves whole pages only: a quota below one moves nothing."""
        size = min(tuned_bytes, self.quota_mb_s * MIB) // world.page_bytes * world.page_bytes
        whole = granted.whole(world.pages_of(size))
        return min(whole, world.machine.pages_in_budget(PAYER, APPLY_MS * 1e6 / world.group_pages))

    def _chosen(self, world: World, nodes: object, fits: object) -> U32:
        """Pages on the nodes (bool[nodes]) that fit (bool[pages]), in the order of addresses."""
        on = np.append(np.asarray(nodes, np.bool_), False)
        there = on[np.minimum(world.machine.place, len(on) - 1)] & np.asarray(fits, np.bool_)
        return from_first(np.flatnonzero(there).astype(np.uint32), world.first_page)

    def _demote(self, world: World, cold: U32) -> None:
        self._age[cold] = 0
        world.decisions.move(cold, Moved.COLD)
        world.machine.demote(cold, world.fast_node, PAYER)

    def _promote(self, world: World, page: U32) -> None:
        self._age[page] = 0
        world.decisions.move(page, Moved.HOT)
        if len(page):
            moves = world.machine.migrate(page, world.fast_node, PAYER)
            world.decisions.hold(moves.failed, HeldBack.FREE_SPACE)

    def tracker_bytes(self) -> int:
        """0: what the kernel keeps is the source's."""
        return 0

    def counters(self) -> dict[str, int]:
        return {}
