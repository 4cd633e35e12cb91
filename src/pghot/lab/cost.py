"""What the memory that holds a program costs, at the prices of the tiers file.

Bought is as much as the footprint takes: the top tier's share, then the tiers below in the proportions of the tiers
file, as the lab sizes them (`lab.capacity`), and of the lowest what is left. Memory for others is not counted, nor what
an uncompressed lowest tier of the lab has beyond the footprint. Of a node that compresses, the whole medium counts: the
lab plays with it, and how much of it pages take depends on what is in them.
"""

from __future__ import annotations

from pghot.lab.capacity import ROOM
from pghot.sim.machine.topology import Topology

GIB = 1 << 30


def memory_cost(topology: Topology, footprint_bytes: float, fast_share: float) -> float | None:
    """In `topology.price.currency`; None: the tiers have no prices.

    fast_share  of the footprint in the top tier; 1: all of it, and there are no other tiers
    """
    if topology.price is None:
        return None
    ranks, cost, left = topology.ranks(), 0.0, footprint_bytes
    scale = fast_share * footprint_bytes / sum(topology.nodes[top].capacity for top in topology.top_nodes())
    for rank in range(max(ranks) + 1):
        nodes = [node for node, its in zip(topology.nodes, ranks, strict=True) if its == rank]
        whole = sum(node.capacity for node in nodes)
        held = left if rank == max(ranks) else min(left, scale * whole)
        left -= held
        for node in nodes:
            size = held * node.capacity / whole
            if node.real_capacity is not None and held:
                size = ROOM * footprint_bytes * node.real_capacity / node.capacity
            cost += size / GIB * topology.price.per_gib[node.name]
    return cost
