"""What the kernel itself does with NUMA nodes now: balancing mode, demotion, interleave weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pghot.kernel.knob_files import DEMOTION_ENABLED, NUMA_BALANCING, PROMOTE_RATE_LIMIT
from pghot.kernel.node_files import read_number
from pghot.kernel.sysroot import SysRoot

WEIGHTS = "/sys/kernel/mm/mempolicy/weighted_interleave"  # Linux >= 6.9

_DEMOTION = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class NumaSettings:
    """None where this kernel has no such thing.

    numa_balancing           bits: 1 = towards the accessing CPU's node, 2 = promotion from lower tiers (>= 5.18)
    promote_rate_limit_mb_s  of mode 2, for each node
    demotion_enabled         reclaim moves pages to lower tiers instead of dropping or swapping them
    weights                  weighted interleave: node -> 1..255
    """

    numa_balancing: int | None
    promote_rate_limit_mb_s: int | None
    demotion_enabled: bool | None
    weights: Mapping[int, int]


def read_numa_settings(root: SysRoot) -> NumaSettings:
    """The knobs as they are now."""
    weights = {}
    for name in root.list(WEIGHTS):
        weight = read_number(root, f"{WEIGHTS}/{name}")
        if name[:4] == "node" and name[4:].isdigit() and weight is not None:
            weights[int(name[4:])] = weight
    return NumaSettings(
        read_number(root, NUMA_BALANCING),
        read_number(root, PROMOTE_RATE_LIMIT),
        _DEMOTION.get(root.read_or(DEMOTION_ENABLED)),
        weights,
    )
