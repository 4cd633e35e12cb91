"""What is free on each node, and how much of it promotion may take: never below the free floor."""

from __future__ import annotations

import os

import numpy as np

from pghot.arrays import I64
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.zoneinfo import read_zoneinfo
from pghot.live.machine.nodes import LiveTopology, free_pages, free_pages_on
from pghot.live.machine.placement import HUGE_PAGES
from pghot.live.swap_tier.tier import CompressedTier
from pghot.units import PAGE_BYTES

# Pages that per-CPU counters can hide from nodeN/meminfo (stat_threshold is at most 125, mm/vmstat.c).
DRIFT_PAGES_PER_CPU = 125
# CONFIG_PCP_BATCH_SCALE_MAX by default: since Linux 6.7 a CPU that keeps allocating takes up to 32 batches at once
# (nr_pcp_alloc, mm/page_alloc.c).
BATCH_SCALE = 5
# The CPU that we run on allocates for our moves, and a second one when we are moved there during a batch.
REFILLING_CPUS = 2
# For each 64 MiB of room above the floor, four batches of 512 pages go without asking what is free, sixteen at most.
# Four take about 3 ms, and nobody else allocates 64 MiB in that time.
PLENTY_PAGES = (64 << 20) // PAGE_BYTES
PLENTY_BATCHES = 4
MOST_BATCHES = 16


class Room:
    """Free pages as last read, less what a dry run would have used.

    free_pages, floor_pages  int64[nodes]; the floor is `floor_share` of the node, and its high watermark in any case
    drift_pages, refill_pages  int and int64[nodes], kept beside the floor: what per-CPU counters may hide, and what
        CPUs may take into their own lists of free pages while we move
    lowest_margin  how near a node that we filled came to its floor, None before the first move
    """

    def __init__(
        self, root: SysRoot, topology: LiveTopology, floor_share: float, tier: CompressedTier | None = None
    ) -> None:
        self._root, self._topology, self._tier = root, topology, tier
        capacity = np.array(topology.capacity_pages, np.int64)
        self.free_pages = np.zeros(len(capacity), np.int64)
        self.floor_pages: I64 = np.maximum(topology.high_pages, (capacity * floor_share).astype(np.int64))
        if tier is not None:
            self.floor_pages[tier.node] = tier.swap.floor_pages
        self.drift_pages = DRIFT_PAGES_PER_CPU * (os.cpu_count() or 1)
        self.refill_pages = refill_pages(root, len(capacity))
        self.lowest_margin: int | None = None
        self._would_use = np.zeros(len(capacity), np.int64)

    def read(self) -> None:
        """Ask the kernel for all nodes."""
        self.free_pages[:] = free_pages(self._root, self._topology) - self._would_use
        if self._tier is not None:
            node = self._tier.node
            self.free_pages[node] = self._tier.swap.free_pages(self._root) - self._would_use[node]

    def on(self, node: int) -> int:
        """Pages that can be put on `node` without crossing its floor."""
        above = int(self.free_pages[node] - self.floor_pages[node])
        return max(0, above - self.drift_pages - int(self.refill_pages[node]))

    def look(self, node: int) -> tuple[int, int]:
        """`on` as of now, since others allocate between two batches, and the number of batches for which it holds.

        While there is plenty, the kernel is asked seldom.
        """
        self.filled(node)
        room = self.on(node)
        return room, min(MOST_BATCHES, max(1, PLENTY_BATCHES * (room // PLENTY_PAGES)))

    def filled(self, node: int) -> None:
        """We put pages on `node`: look how near it is to its floor."""
        if self._tier is not None and node == self._tier.node:
            self.free_pages[node] = self._tier.swap.free_pages(self._root)
            return
        self.free_pages[node] = free_pages_on(self._root, node)
        margin = int(self.free_pages[node] - self.floor_pages[node])
        self.lowest_margin = margin if self.lowest_margin is None else min(self.lowest_margin, margin)

    def pretend(self, node: int, pages: int) -> None:
        """A dry run would have put so many pages there."""
        self._would_use[node] += pages
        self.free_pages[node] -= pages


def refill_pages(root: SysRoot, nodes: int) -> I64:
    """int64[nodes]: how far the free pages of a node can fall beyond what we move there at the same time.

    A CPU allocates from lists of its own, and fills an empty one from the zone with many pages at once: pages in the
    lists no longer count as free, nor for the watermarks. It takes `batch` pages, since Linux 6.7 up to
    `batch << BATCH_SCALE` (2016 where a batch is 63), and of huge pages two where one is needed.
    """
    scale = BATCH_SCALE if root.release() >= (6, 7) else 0
    most = np.zeros(nodes, np.int64)
    for zone in read_zoneinfo(root):
        if zone.batch and zone.node < nodes:
            most[zone.node] = max(most[zone.node], (zone.batch << scale) + HUGE_PAGES)
    return most * min(REFILLING_CPUS, os.cpu_count() or 1)
