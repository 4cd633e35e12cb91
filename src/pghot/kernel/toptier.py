"""The memory tiers as this kernel has them (mm/memory-tiers.c): what it shows, and which nodes it calls top tier."""

from __future__ import annotations

import re

from pghot.kernel.meminfo import node_meminfo_pages
from pghot.kernel.node_files import NODES, node_cpus, online_nodes, read_list
from pghot.kernel.sysroot import SysRoot

TIERS = "/sys/devices/virtual/memory_tiering"  # Linux >= 6.1


def shown_tiers(root: SysRoot) -> dict[int, int]:
    """The N of memory_tierN for each node. Raises `PghotError` when a nodelist is no list."""
    found: dict[int, int] = {}
    for name in root.list(TIERS):
        if match := re.fullmatch(r"memory_tier(\d+)", name):
            found |= dict.fromkeys(read_list(root, f"{TIERS}/{name}/nodelist"), int(match[1]))
    return found


def nodes_with_memory(root: SysRoot) -> tuple[int, ...]:
    """Nodes that are online and have memory. Raises as `read_list`."""
    online = online_nodes(root)
    listed = read_list(root, f"{NODES}/has_memory")
    sized = tuple(node for node in online if node_meminfo_pages(root, node, "MemTotal"))
    return tuple(node for node in listed or sized or online if node in online)


def kernel_top_nodes(root: SysRoot) -> tuple[int, ...]:
    """Nodes with memory that the kernel calls top tier (node_is_toptier): in mode 2 their pages get no hint faults.

    Linux >= 6.1: the slowest tier with CPUs, and all faster ones. Before: the nodes with CPUs.
    """
    nodes, tier = nodes_with_memory(root), shown_tiers(root)
    with_cpus = [node for node in nodes if node_cpus(root, node)]
    slowest = max((tier[node] for node in with_cpus if node in tier), default=None)
    if slowest is None:
        return tuple(with_cpus)
    return tuple(node for node in nodes if tier.get(node, slowest) <= slowest)
