"""Slow, plain versions of the kernels of `pghot.sim.machine.relocation`."""

from __future__ import annotations

import numpy as np

from pghot.arrays import F64, I64, NOWHERE, U8, U32, Bool


def movable_reference(page: U32, place: U8, target: int, out: U32) -> int:
    """`movable` with index arrays."""
    found = page[(place[page] != NOWHERE) & (place[page] != target)]
    out[: len(found)] = found
    return len(found)


def slowest_node_reference(page: U32, place: U8, target: int, slowdown: F64) -> int:
    """`slowest_node` from the set of nodes."""
    return min({target, *place[page].tolist()}, key=lambda node: (-slowdown[node], node))


def relocate_reference(
    page: U32,
    target: int,
    page_bytes: float,
    place: U8,
    rank: I64,
    free: I64,
    moving_bytes: F64,
    was_promoted: Bool,
    promoted: U32,
) -> tuple[int, int, int]:
    """`relocate` with index arrays."""
    source = place[page]
    left = np.bincount(source, minlength=len(free))
    free += left
    free[target] -= len(page)
    moving_bytes += left * page_bytes
    moving_bytes[target] += len(page) * page_bytes
    place[page] = target
    up = page[rank[source] > rank[target]]
    promoted[: len(up)] = up
    again = int(np.count_nonzero(was_promoted[up]))
    was_promoted[up] = True
    return len(up), int(np.count_nonzero(rank[source] < rank[target])), again
