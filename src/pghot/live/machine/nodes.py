"""The memory nodes of the machine we run on: tiers, distances, sizes, watermarks, what is free.

Mirrors what mm/memory-tiers.c, drivers/base/node.c and mm/vmstat.c show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from pghot.arrays import I64
from pghot.errors import UnsupportedError
from pghot.kernel.meminfo import node_meminfo_pages
from pghot.kernel.node_access import NodeAccess, read_access
from pghot.kernel.node_files import NODES, node_cpus, online_nodes, read_list
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.toptier import kernel_top_nodes, nodes_with_memory
from pghot.kernel.zoneinfo import NodeWatermarks, read_zoneinfo, watermarks
from pghot.live.machine.memory_tiers import read_tiers
from pghot.policies import tiers

UNREACHABLE = 255  # as in SLIT
LOCAL = 10


@dataclass(frozen=True, slots=True)
class LiveTopology:
    """The nodes at the time of reading. Tuples are indexed by node number; numbers may have gaps.

    A number without memory (a gap, or a node of CPUs only) has capacity 0 and a rank after all others.

    online          numbers of the nodes that are online
    with_memory     nodes that have memory
    cpus            CPUs of each node
    tier_number     N of the kernel's memory_tierN, -1 for a number without memory
    rank            tier of each node, 0 = top
    tier_source     where the tiers come from: see `TierNumbers`
    distances       SLIT distances; 255 where one is not online
    access          latency and bandwidth, None where firmware tells none
    capacity_pages  size
    watermarks      min, low, high, promo: sums over the node's zones
    promotion_targets   top-tier nodes by distance
    demotion_targets    lower nodes as the kernel prefers them
    kernel_top_nodes    see `pghot.kernel.toptier`
    left_out        nodes with memory that take no part, and why: see `pghot.live.machine.chosen_nodes`. They are not in
                    `with_memory`, and have a rank after all others
    notes           in words: what was damaged or missing, and what was assumed instead
    """

    online: tuple[int, ...]
    with_memory: tuple[int, ...]
    cpus: tuple[tuple[int, ...], ...]
    tier_number: tuple[int, ...]
    rank: tuple[int, ...]
    tier_source: str
    distances: tuple[tuple[int, ...], ...]
    access: tuple[NodeAccess | None, ...]
    capacity_pages: tuple[int, ...]
    watermarks: tuple[NodeWatermarks, ...]
    promotion_targets: tuple[tuple[int, ...], ...]
    demotion_targets: tuple[tuple[int, ...], ...]
    kernel_top_nodes: tuple[int, ...]
    notes: tuple[str, ...]
    left_out: Mapping[int, str] = field(default_factory=dict)

    @property
    def high_pages(self) -> tuple[int, ...]:
        """High watermark of each node."""
        return tuple(marks.high for marks in self.watermarks)

    @property
    def promo_pages(self) -> tuple[int, ...]:
        """Promotion watermark of each node."""
        return tuple(marks.promo for marks in self.watermarks)

    @property
    def top_nodes(self) -> tuple[int, ...]:
        """Nodes of the fastest tier."""
        return tuple(node for node in self.with_memory if self.rank[node] == 0)

    @property
    def lower(self) -> tuple[int, ...]:
        """Nodes with memory below the top tier."""
        return tuple(node for node in self.with_memory if self.rank[node] > 0 and self.capacity_pages[node])

    @property
    def lowest_nodes(self) -> tuple[int, ...]:
        """Nodes with memory of the slowest tier."""
        lowest = max(self.rank[node] for node in self.with_memory)
        return tuple(node for node in self.with_memory if self.rank[node] == lowest)

    @property
    def tiers(self) -> int:
        """How many tiers there are."""
        return len({self.rank[node] for node in self.with_memory})


def read_nodes(root: SysRoot) -> LiveTopology:
    """Read the topology.

    Raises `UnsupportedError` when sysfs shows no memory nodes or its lists are garbage, `NotPermittedError` when
    they may not be read. Smaller damage becomes a note.
    """
    online = online_nodes(root)
    with_memory = nodes_with_memory(root)
    if not with_memory:
        raise UnsupportedError(
            f"no memory nodes in {NODES}",
            "boot a kernel with CONFIG_NUMA=y, and mount /sys"
            if root.live
            else "give --root a copy of /sys with the directories of the nodes (CONFIG_NUMA=y)",
        )
    count = max((*with_memory, *online)) + 1
    cpus = tuple(node_cpus(root, node) for node in range(count))
    access = tuple(read_access(root, node) for node in range(count))
    known = {node: value for node, value in enumerate(access) if value is not None}
    with_cpus = [node for node in range(count) if cpus[node]]
    tier = read_tiers(root, with_memory, with_cpus, known)
    numbers = tier.number
    after_all = max(numbers.values()) + 1
    rank = tuple(tiers.ranks([numbers.get(node, after_all) for node in range(count)]))
    distances = tuple(_distances(root, node, online, count) for node in range(count))
    zones = read_zoneinfo(root)
    capacity = tuple(node_meminfo_pages(root, node, "MemTotal") for node in range(count))
    marks = tuple(watermarks(zones, node) for node in range(count))
    return LiveTopology(
        online=online,
        with_memory=with_memory,
        cpus=cpus,
        tier_number=tuple(numbers.get(node, -1) for node in range(count)),
        rank=rank,
        tier_source=tier.source,
        distances=distances,
        access=access,
        capacity_pages=capacity,
        watermarks=marks,
        promotion_targets=promotion_targets(with_memory, rank, distances),
        demotion_targets=demotion_targets(with_memory, rank, distances),
        kernel_top_nodes=kernel_top_nodes(root),
        notes=tuple(_notes(root, with_memory, capacity, marks, tier.why, tier.source)),
    )


def promotion_targets(
    with_memory: tuple[int, ...], rank: tuple[int, ...], distances: tuple[tuple[int, ...], ...]
) -> tuple[tuple[int, ...], ...]:
    """For each node the top-tier ones, by distance."""
    top = [node for node in with_memory if rank[node] == 0]
    return tuple(tuple(sorted(top, key=lambda fast: (row[fast], fast))) for row in distances)


def demotion_targets(
    with_memory: tuple[int, ...], rank: tuple[int, ...], distances: tuple[tuple[int, ...], ...]
) -> tuple[tuple[int, ...], ...]:
    """For each node the lower ones, as the kernel prefers them."""
    orders = (tiers.demotion_order(node, rank, distances) for node in range(len(rank)))
    return tuple(tuple(node for node in order if node in with_memory) for order in orders)


def _distances(root: SysRoot, node: int, online: tuple[int, ...], count: int) -> tuple[int, ...]:
    """A row of distances. The file has a number for each node that is online, in their order.

    Where it has another length, nodes went offline since, and it is for all that are possible.
    """
    words = root.read_or(f"{NODES}/node{node}/distance").split()
    possible = read_list(root, f"{NODES}/possible")
    others = possible if len(words) == len(possible) != len(online) else online
    row = {other: int(word) for other, word in zip(others, words, strict=False) if word.isdigit()}
    return tuple(row.get(other, LOCAL if other == node else UNREACHABLE) for other in range(count))


def _notes(
    root: SysRoot,
    with_memory: tuple[int, ...],
    capacity: tuple[int, ...],
    marks: tuple[NodeWatermarks, ...],
    why: str,
    source: str,
) -> Iterator[str]:
    if why:
        yield f"{why}: tiers were formed from {source}"
    for node in with_memory:
        if capacity[node] == 0:
            yield f"node {node} has no readable size ({NODES}/node{node}/meminfo): nothing is moved there"
        elif marks[node].high == 0:
            yield f"node {node} has no watermarks in /proc/zoneinfo: taken as 0"
        if not root.read_or(f"{NODES}/node{node}/distance"):
            yield f"node {node} tells no distances: targets are in the order of their numbers"


def free_pages(root: SysRoot, topology: LiveTopology) -> I64:
    """int64[nodes]: what is free now. One small file for each node with memory; meant for every tick."""
    free = np.zeros(len(topology.rank), np.int64)
    for node in topology.with_memory:
        free[node] = free_pages_on(root, node)
    return free


def free_pages_on(root: SysRoot, node: int) -> int:
    """What is free on one node now; meant for every batch of moves."""
    return node_meminfo_pages(root, node, "MemFree")
