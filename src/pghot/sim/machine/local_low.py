"""`memory.low` of tenants, scaled to the top tier and heeded by its reclaim.

Kaiyang Zhao, "memory tiering fairness by per-cgroup control of promotion and demotion" (RFC, linux-mm, September 2024),
patches 2 and 3. A tenant's protection there is its `memory.low` times the top tier's share of all memory. Reclaim
passes over tenants that have no more than that, unless the others give nothing.

Ours: reclaim takes the oldest pages of the tenants that are over their protection, and of each no more than it is over.
The kernel scans the lists of each such tenant in proportion, which comes to the same end more slowly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pghot.arrays import F64, I64, NOWHERE, U8, U16, U32, Bool


class Reclaimed(Protocol):
    """What is asked of the machine: see `SimulatedMachine`."""

    place: U8
    capacity_pages: I64

    @property
    def top_nodes(self) -> Sequence[int]: ...
    def oldest(self, node: int, pages: int, thread: str, spared: Bool | None = None) -> U32: ...
    def demote(self, page: U32, node: int, thread: str) -> int: ...
    def demote_oldest(self, node: int, pages: int, thread: str) -> U32: ...


class LocalLow:
    """What each tenant is sure of.

    tenant     uint16[pages]     whose each page is
    protected  float64[tenants]  pages of the top tier, with their fraction
    """

    def __init__(self, machine: Reclaimed, tenant: U16, low: float) -> None:
        """low: the share of each tenant's memory that its `memory.low` is."""
        self.tenant = tenant
        top = float(machine.capacity_pages[list(machine.top_nodes)].sum() / machine.capacity_pages.sum())
        self.protected: F64 = np.bincount(tenant).astype(np.float64) * (low * top)

    def used(self, machine: Reclaimed) -> I64:
        """int64[tenants]: pages that each has on the top tier."""
        on_top = np.zeros(NOWHERE + 1, np.bool_)
        on_top[list(machine.top_nodes)] = True
        return np.bincount(self.tenant[on_top[machine.place]], minlength=len(self.protected))

    def over(self, machine: Reclaimed) -> I64:
        """int64[tenants]: whole pages of the top tier that each has beyond its protection, 0 or less if none."""
        found: I64 = np.ceil(self.used(machine) - self.protected).astype(np.int64)
        return found

    def reclaim(self, machine: Reclaimed, node: int, pages: int, thread: str) -> int:
        """Have `thread` demote up to `pages` of a top-tier node; returns how many went."""
        done = 0
        while done < pages:
            over = self.over(machine)
            cold = machine.oldest(node, pages - done, thread, spared=(over <= 0)[self.tenant])
            went = machine.demote(cold[first_of_each(self.tenant[cold], over)], node, thread)
            if not went:
                break
            done += went
        return done or len(machine.demote_oldest(node, pages, thread))


def first_of_each(tenant: U16, most: I64) -> Bool:
    """Which entries are among the first `most[tenant]` of their tenant.

    >>> first_of_each(np.array([1, 0, 1, 1], np.uint16), np.array([0, 2])).tolist()
    [True, False, True, False]
    """
    order = np.argsort(tenant, kind="stable")
    ranked = tenant[order]
    rank = np.empty(len(tenant), np.int64)
    rank[order] = np.arange(len(tenant)) - np.searchsorted(ranked, ranked)
    found: Bool = rank < most[tenant]
    return found
