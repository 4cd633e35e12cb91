"""The memory nodes of the machine we run on: tiers, distances, sizes, watermarks, what is free.

Mirrors what mm/memory-tiers.c and drivers/base/node.c show in sysfs. Arrays are indexed by node number; a number
without memory has capacity 0 and the last rank.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pghot.errors import UnsupportedError
from pghot.kernel.perf_event import parse_list
from pghot.kernel.sysroot import SysRoot
from pghot.machine import tiers
from pghot.units import PAGE_BYTES

I64 = npt.NDArray[np.int64]

_NODES = "/sys/devices/system/node"
_TIERS = "/sys/devices/virtual/memory_tiering"
_PAGE_KIB = PAGE_BYTES // 1024


@dataclass(frozen=True, slots=True)
class LiveTopology:
    """The nodes at the time of reading. Tuples are indexed by node number.

    rank            tier of each node, 0 = top; nodes without memory come last
    tier_source     where the tiers come from: "memory_tiering" or "CPUs" (nodes without CPUs are below)
    capacity_pages, high_pages  size and high watermark
    promotion_targets   top-tier nodes by distance
    demotion_targets    lower nodes as the kernel prefers them
    """

    rank: tuple[int, ...]
    tier_source: str
    distances: tuple[tuple[int, ...], ...]
    capacity_pages: tuple[int, ...]
    high_pages: tuple[int, ...]
    promotion_targets: tuple[tuple[int, ...], ...]
    demotion_targets: tuple[tuple[int, ...], ...]

    @property
    def top_nodes(self) -> tuple[int, ...]:
        return tuple(node for node, rank in enumerate(self.rank) if rank == 0)

    @property
    def lower(self) -> tuple[int, ...]:
        """Nodes with memory below the top tier."""
        return tuple(node for node, rank in enumerate(self.rank) if rank > 0 and self.capacity_pages[node])


def read_nodes(root: SysRoot) -> LiveTopology:
    """Read the topology. Raises `UnsupportedError` when sysfs shows no memory nodes."""
    with_memory = parse_list(root.read_or(f"{_NODES}/has_memory") or root.read_or(f"{_NODES}/online"))
    if not with_memory:
        raise UnsupportedError(f"no memory nodes in {_NODES}", "a kernel with CONFIG_NUMA and a mounted /sys")
    count = max(with_memory) + 1
    distances = tuple(_distances(root, node, count) for node in range(count))
    numbers, tier_source = _tier_numbers(root, with_memory)
    last = max(numbers.values()) + 1
    rank = tuple(tiers.ranks([numbers.get(node, last) for node in range(count)]))
    top = [node for node in with_memory if rank[node] == 0]
    return LiveTopology(
        rank,
        tier_source,
        distances,
        tuple(_meminfo(root, node, "MemTotal") for node in range(count)),
        _high_watermarks(root, count),
        tuple(tuple(sorted(top, key=lambda fast: distances[node][fast])) for node in range(count)),
        tuple(
            tuple(other for other in tiers.demotion_order(node, rank, distances) if other in with_memory)
            for node in range(count)
        ),
    )


def _tier_numbers(root: SysRoot, nodes: list[int]) -> tuple[dict[int, int], str]:
    """The N of memory_tierN for each node (Linux >= 6.1)."""
    found = {}
    for name in root.list(_TIERS):
        if match := re.fullmatch(r"memory_tier(\d+)", name):
            for node in parse_list(root.read_or(f"{_TIERS}/{name}/nodelist")):
                found[node] = int(match[1])
    if set(nodes) <= set(found):
        return {node: found[node] for node in nodes}, "memory_tiering"
    return {node: 0 if root.read_or(f"{_NODES}/node{node}/cpulist") else 1 for node in nodes}, "CPUs"


def _distances(root: SysRoot, node: int, count: int) -> tuple[int, ...]:
    words = root.read_or(f"{_NODES}/node{node}/distance").split()
    online = parse_list(root.read_or(f"{_NODES}/online"))
    row = dict(zip(online, (int(word) for word in words), strict=False))
    return tuple(row.get(other, 10 if other == node else 255) for other in range(count))


def _meminfo(root: SysRoot, node: int, key: str) -> int:
    """A size of a node's meminfo in pages, 0 when it has none."""
    match = re.search(rf"{key}:\s*(\d+) kB", root.read_or(f"{_NODES}/node{node}/meminfo"))
    return int(match[1]) // _PAGE_KIB if match else 0


def _high_watermarks(root: SysRoot, count: int) -> tuple[int, ...]:
    """Sum of the zones' high watermarks of each node, from /proc/zoneinfo."""
    high, node = [0] * count, -1
    for line in root.read_or("/proc/zoneinfo").splitlines():
        words = line.split()
        if line.startswith("Node"):
            node = int(words[1].rstrip(","))
        elif len(words) == 2 and words[0] == "high" and 0 <= node < count:
            high[node] += int(words[1])
    return tuple(high)


def free_pages(root: SysRoot, topology: LiveTopology) -> I64:
    """int64[nodes]: what is free now."""
    return np.array([_meminfo(root, node, "MemFree") for node in range(len(topology.rank))], np.int64)
