"""How large the simulated nodes are."""

from __future__ import annotations

import numpy as np

from pghot.arrays import I64
from pghot.errors import UsageError
from pghot.sim.machine.topology import Topology
from pghot.units import format_share, format_size

ROOM = 1.1  # of the lowest tier over the footprint: the reserve below its watermarks is in it


def size_nodes(topology: Topology, footprint_pages: int, page_bytes: float, fast_share: float | None) -> I64:
    """Capacities in pages, int64[nodes].

    page_bytes  real bytes that one page stands for
    fast_share  share of the footprint that the top tier holds; the other tiers shrink in proportion and the
                lowest always holds the whole footprint. None: capacities as in the tiers file.
    Raises `UsageError` for a share of 0 or 1: those are bounds, not sizes; and for a footprint that is larger than all
    nodes as they are in the file.
    """
    real = np.array([node.capacity for node in topology.nodes]) / page_bytes
    if fast_share is None:
        capacity: I64 = real.astype(np.int64)
        if footprint_pages > capacity.sum():
            total = format_size(sum(node.capacity for node in topology.nodes))
            raise UsageError(
                f"{format_size(footprint_pages * page_bytes)} do not fit the tiers as they are: they have {total}",
                "give a smaller --stands-for, or a --fast-share to size the tiers by the program",
            )
        return capacity
    if not 0 < fast_share < 1:
        other = "all-slow" if fast_share == 0 else "all-fast"
        raise UsageError(
            f"a fast share of {format_share(fast_share)} leaves nothing to decide",
            f"give a share between the two, or read the '{other}' row of the table",
        )
    top = list(topology.top_nodes())
    rank = np.array(topology.ranks())
    shrink = real[top].sum() / max(1.0, fast_share * footprint_pages)
    pages: I64 = np.maximum(1, np.round(real / shrink)).astype(np.int64)
    lowest = np.flatnonzero(rank == rank.max())
    needed = int(np.ceil(footprint_pages * ROOM)) + 16
    pages[lowest] = np.maximum(pages[lowest], -(-needed // len(lowest)))
    return pages
