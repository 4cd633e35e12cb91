"""Memory tiers as the kernel forms them (mm/memory-tiers.c): abstract distance, ranks, demotion targets.

These are plain functions on plain numbers. The simulated machine and the live topology both call them.
"""

from __future__ import annotations

from collections.abc import Sequence

ADISTANCE_DRAM = 576  # MEMTIER_ADISTANCE_DRAM: 4.5 chunks
CHUNK_BITS = 7  # MEMTIER_CHUNK_BITS: a tier is a chunk of 128 abstract distances


def adistance(
    latency_ns: float, bandwidth_gb_s: float, dram_latency_ns: float, dram_bandwidth_gb_s: float
) -> int:
    """Abstract distance of a node from its latency and bandwidth relative to DRAM (mt_perf_to_adistance).

    >>> adistance(100, 200, 100, 200)
    576
    """
    return int(ADISTANCE_DRAM * (latency_ns / dram_latency_ns) * (dram_bandwidth_gb_s / bandwidth_gb_s))


def tier_number(abstract_distance: int) -> int:
    """The N of `memory_tierN`.

    >>> tier_number(576)
    4
    """
    return abstract_distance >> CHUNK_BITS


def ranks(tier_numbers: Sequence[int]) -> list[int]:
    """Rank of each node's tier, 0 = fastest.

    >>> ranks([4, 2, 11])
    [1, 0, 2]
    """
    order = sorted(set(tier_numbers))
    return [order.index(number) for number in tier_numbers]


def demotion_order(node: int, rank: Sequence[int], distances: Sequence[Sequence[int]]) -> list[int]:
    """Nodes to demote to from `node`: the nearest of the next lower tier first, then those of any lower tier.

    The kernel prefers the nodes of the *next* tier at the smallest distance and falls back to every lower
    tier (establish_demotion_targets, next_demotion_node).

    >>> demotion_order(1, [1, 0, 2], [[10, 20, 30], [20, 10, 40], [30, 40, 10]])
    [0, 2]
    """
    lower = [other for other in range(len(rank)) if rank[other] > rank[node]]
    return sorted(lower, key=lambda other: (rank[other], distances[node][other], other))


def fallback_order(node: int, distances: Sequence[Sequence[int]]) -> list[int]:
    """Nodes that an allocation by a CPU on `node` tries, in order of distance, as in a zonelist.

    >>> fallback_order(0, [[10, 20, 30], [20, 10, 40], [30, 40, 10]])
    [0, 1, 2]
    """
    return sorted(range(len(distances)), key=lambda other: (distances[node][other], other))
