"""Bookkeeping for pages that move to another node, compiled."""

from __future__ import annotations

import numpy as np

from pghot.arrays import F64, I64, NOWHERE, U8, U32, Bool, Int
from pghot.jit import njit


@njit(cache=True)
def movable(page: U32, place: U8, target: int, out: U32) -> int:
    """Write the pages that are on a node other than `target` to `out` (uint32[K]); returns how many."""
    found = 0
    for index in page:
        if place[index] != NOWHERE and place[index] != target:
            out[found] = index
            found += 1
    return found


@njit(cache=True)
def slowest_node(page: U32, place: U8, target: int, slowdown: F64) -> int:
    """Which of the nodes that a move reads from or writes to is slowed down most; the first of equal ones.

    page      uint32[K]       pages that are to go to `target`, each on a node
    slowdown  float64[nodes]  above 0
    """
    slowest: Int = np.int64(target)
    for index in page:
        node: Int = np.int64(place[index])
        if slowdown[node] > slowdown[slowest] or (slowdown[node] == slowdown[slowest] and node < slowest):
            slowest = node
    return int(slowest)


@njit(cache=True)
def relocate(
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
    """Put pages on `target`; returns how many were promoted, how many demoted, and how many promoted once more.

    page          uint32[K]       distinct pages, each on a node
    place         uint8[pages]    updated
    rank          int64[nodes]    0 = top
    free          int64[nodes]    free pages; updated
    moving_bytes  float64[nodes]  bytes read from or written to each node by moves; updated
    was_promoted  bool[pages]     updated
    promoted      uint32[K]       set: the promoted pages come first, in the order of `page`
    """
    climbed = sunk = again = 0
    left = np.zeros(len(free), np.int64)
    for row in range(len(page)):
        index = page[row]
        source = place[index]
        left[source] += 1
        place[index] = target
        if rank[source] > rank[target]:
            promoted[climbed] = index
            climbed += 1
            if was_promoted[index]:
                again += 1
            was_promoted[index] = True
        elif rank[source] < rank[target]:
            sunk += 1
    for node in range(len(free)):
        free[node] += left[node]
        moving_bytes[node] += left[node] * page_bytes
    free[target] -= len(page)
    moving_bytes[target] += len(page) * page_bytes
    return climbed, sunk, again
