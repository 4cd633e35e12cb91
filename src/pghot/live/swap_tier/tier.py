"""Compressed swap as one more tier, below all nodes: a number after theirs, and how pages get there and back."""

from __future__ import annotations

import errno
from dataclasses import replace

import numpy as np

from pghot.arrays import I32, U64
from pghot.kernel.pagemap import swapped
from pghot.kernel.process_madvise import bring_back, page_out
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.zoneinfo import NodeWatermarks
from pghot.live.machine.nodes import UNREACHABLE, LiveTopology
from pghot.live.swap_tier.swap_space import CompressedSwap


class CompressedTier:
    """Moves pages between memory and `swap`, and tells which are there. `node` is its number."""

    def __init__(self, root: SysRoot, swap: CompressedSwap, node: int) -> None:
        self._root, self.swap, self.node = root, swap, node

    def put(self, pid: int, address: U64) -> I32:
        """Put pages (uint64[K] bytes) into swap; status of each: `node`, or a negative errno.

        -EBUSY: the kernel skipped it (in use at that moment, shared, on its way to a list). -EINVAL: its mapping is
        locked.
        """
        order = np.argsort(address)
        status = np.empty(len(address), np.int32)
        try:
            asked = page_out(pid, address[order])
            out = swapped(self._root, pid, address[order])
        except OSError as error:
            return np.full(len(address), -(error.errno or errno.EBUSY), np.int32)
        status[order] = np.where(out, self.node, np.where(asked < 0, asked, -errno.EBUSY))
        return status

    def fetch(self, pid: int, address: U64) -> None:
        """Bring pages back into memory, on whatever node. What did not come is still swapped."""
        try:
            bring_back(pid, np.sort(address))
        except OSError:
            return  # it ended or is no longer ours; the next query for its pages will say so

    def places(self, pid: int, address: U64, status: I32) -> I32:
        """`status` of a query for nodes (int32[K]), with this tier's number for pages that are swapped."""
        absent = np.flatnonzero(status == -errno.ENOENT)
        if len(absent) == 0:
            return status
        absent = absent[np.argsort(address[absent])]
        out = swapped(self._root, pid, address[absent])
        found = status.copy()
        found[absent[out]] = self.node
        return found


def with_compressed(topology: LiveTopology, swap: CompressedSwap) -> LiveTopology:
    """The topology with the swap as one more node: the last tier, to which each node may demote as a last resort.

    It is not in `with_memory`, because the kernel has no such node.
    """
    number = len(topology.rank)
    lowest = topology.rank[topology.lowest_nodes[0]]
    none = NodeWatermarks(0, 0, 0, 0)
    row = (UNREACHABLE,) * number
    return replace(
        topology,
        cpus=(*topology.cpus, ()),
        tier_number=(*topology.tier_number, -1),
        # Numbers without memory come after all tiers; they keep a rank of their own.
        rank=(*(rank + (rank > lowest) for rank in topology.rank), lowest + 1),
        distances=(*((*each, UNREACHABLE) for each in topology.distances), (*row, 10)),
        access=(*topology.access, None),
        capacity_pages=(*topology.capacity_pages, swap.capacity_pages),
        watermarks=(*topology.watermarks, none),
        promotion_targets=(*topology.promotion_targets, topology.top_nodes),
        demotion_targets=(*((*each, number) for each in topology.demotion_targets), ()),
    )
