"""Putting pages into the compressed tier, a few at a time: those of the lowest nodes that were not seen for long."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pghot.arrays import U32
from pghot.live.machine.demotion import Demotion
from pghot.live.machine.pages import MOST_TRIES, REFUSAL_SHIFT
from pghot.live.machine.placement import Placement, joined
from pghot.live.machine.spaces import Spaces
from pghot.live.swap_tier.tier import CompressedTier
from pghot.policies.bucket import TokenBucket
from pghot.policies.live_rules import AGEING_MS, OLDEST
from pghot.policies.pingpong import PingPongGuard
from pghot.units import PAGE_BYTES


class Compressing:
    """Limited by its own bucket and by a guard: it puts out less while most of what it puts out comes back.

    from_nodes    nodes of the lowest tier in memory
    put           moves pages (uint32[K]) to the tier
    cold_after_s  how long a page must not have been seen, in whole ageing periods
    """

    def __init__(
        self,
        tier: CompressedTier,
        spaces: Spaces,
        placement: Placement,
        demotion: Demotion,
        *,
        from_nodes: tuple[int, ...],
        put: Callable[[U32, int], None],
        rate_mb_s: float,
        cold_after_s: float,
        now_ns: int,
    ) -> None:
        self.tier, self._spaces, self._placement = tier, spaces, placement
        self._demotion, self._put = demotion, put
        self.nodes = from_nodes
        self.cold_age = min(OLDEST, max(1, math.ceil(cold_after_s * 1000 / AGEING_MS)))
        self.bucket = TokenBucket(rate_mb_s, now_ns)
        self.guard = PingPongGuard(now_ns // 1_000_000)
        self._looked_ms = now_ns // 1_000_000
        self._waiting: U32 = np.empty(0, np.uint32)

    @property
    def share(self) -> float:
        """Part of the rate that the guard leaves."""
        return self.guard.share

    def act(self, now_ns: int, went: int, came_back: int) -> None:
        """One round. `went` and `came_back`: pages so far. Looks for cold pages once per ageing period."""
        self.guard.tick(now_ns // 1_000_000, went, came_back)
        self.bucket.refill(now_ns, self.share)
        if now_ns // 1_000_000 - self._looked_ms >= AGEING_MS:
            self._looked_ms = now_ns // 1_000_000
            self._look()
        budget = self.bucket.bytes_now() // PAGE_BYTES
        if budget == 0 or len(self._waiting) == 0:
            return
        now, self._waiting = self._waiting[:budget], self._waiting[budget:]
        still = self._still_cold(now)
        self._put(still, self.tier.node)
        self.bucket.spend(len(still) * PAGE_BYTES)

    def _look(self) -> None:
        """Where pages are now, and which of them may go: oldest first."""
        for space in self._spaces.spaces:
            self._placement.rescan(space, self.tier.node)
        found = [self._demotion.coldest(node, self._spaces.table.pages, self.cold_age) for node in self.nodes]
        page = joined(found)
        self._waiting = page[self._spaces.pages.retries(page, REFUSAL_SHIFT) < MOST_TRIES]

    def _still_cold(self, page: U32) -> U32:
        """Without those seen since the last look, or gone."""
        state = self._spaces.pages
        page = np.sort(page)
        cold = self._placement.ages(page) >= self.cold_age
        still: U32 = page[cold & np.isin(state.place[page], self.nodes)]
        return still
