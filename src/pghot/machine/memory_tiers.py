"""Which tier each node is in: what the kernel says, or what it would say (mm/memory-tiers.c).

Linux >= 6.1 shows its tiers in /sys/devices/virtual/memory_tiering; since 6.7 (drivers/acpi/numa/hmat.c) it forms
them from latency and bandwidth. An older kernel that knows these but has everything in one tier is corrected, and a
kernel without tiers replaced, in the way of the newer ones. Without attributes, nodes without CPUs are below the
nodes with CPUs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pghot.kernel.sysroot import SysRoot
from pghot.machine import tiers
from pghot.machine.node_access import NodeAccess
from pghot.machine.node_files import read_list

TIERS = "/sys/devices/virtual/memory_tiering"
# MEMTIER_DEFAULT_DAX_ADISTANCE: where the kernel puts memory that a driver adds without attributes.
ADISTANCE_DAX = 5 * tiers.ADISTANCE_DRAM


@dataclass(frozen=True, slots=True)
class TierNumbers:
    """The N of memory_tierN of each node with memory.

    source  "memory_tiering": from the kernel; "attributes": from latency and bandwidth; "CPUs": from who has CPUs
    shown   what the kernel says, empty when it does not say it of every node
    why     why the kernel's own tiers were not used, in words
    """

    number: Mapping[int, int]
    source: str
    shown: Mapping[int, int]
    why: str = ""


def read_tiers(
    root: SysRoot, nodes: Sequence[int], with_cpus: Sequence[int], access: Mapping[int, NodeAccess]
) -> TierNumbers:
    """Tiers of `nodes` (those with memory). Raises `PghotError` when a nodelist is no list."""
    shown = _shown(root)
    formed, source = formed_tiers(nodes, with_cpus, access)
    if missing := [node for node in nodes if node not in shown]:
        why = f"{TIERS} names no tier for node {missing[0]}" if root.exists(TIERS) else ""
        return TierNumbers(formed, source, {}, why)
    shown = {node: shown[node] for node in nodes}
    all_in_one = len(set(shown.values())) == 1
    unequal = source == "attributes" and len(set(formed.values())) > 1
    if root.release() < (6, 7) and all_in_one and unequal:
        why = "before Linux 6.7 the kernel has nodes of unequal latency in one tier"
        return TierNumbers(formed, source, shown, why)
    return TierNumbers(shown, "memory_tiering", shown)


def _shown(root: SysRoot) -> dict[int, int]:
    found: dict[int, int] = {}
    for name in root.list(TIERS):
        if match := re.fullmatch(r"memory_tier(\d+)", name):
            found |= dict.fromkeys(read_list(root, f"{TIERS}/{name}/nodelist"), int(match[1]))
    return found


def formed_tiers(
    nodes: Sequence[int], with_cpus: Sequence[int], access: Mapping[int, NodeAccess]
) -> tuple[dict[int, int], str]:
    """The tiers that a kernel >= 6.7 would form, and from what.

    >>> formed_tiers([0, 2], [0], {})
    ({0: 4, 2: 22}, 'CPUs')
    """
    dram = next((access[node] for node in nodes if node in with_cpus and node in access), None)
    number = {}
    for node in nodes:
        if dram is not None and node in access:
            number[node] = tiers.tier_number(_adistance(access[node], dram))
        else:
            number[node] = tiers.tier_number(tiers.ADISTANCE_DRAM if node in with_cpus else ADISTANCE_DAX)
    return number, "CPUs" if dram is None else "attributes"


def kernel_top_nodes(
    nodes: Sequence[int], with_cpus: Sequence[int], shown: Mapping[int, int]
) -> tuple[int, ...]:
    """What the kernel calls top tier (node_is_toptier): pages there get no hint faults in mode 2.

    Linux >= 6.1: the slowest tier with CPUs, and all faster ones. Before: the nodes with CPUs.

    >>> kernel_top_nodes([0, 1, 2], [0], {0: 4, 1: 2, 2: 22})
    (0, 1)
    """
    slowest = max((shown[node] for node in nodes if node in with_cpus and node in shown), default=None)
    if slowest is None:
        return tuple(node for node in nodes if node in with_cpus)
    return tuple(node for node in nodes if shown[node] <= slowest)


def _adistance(node: NodeAccess, dram: NodeAccess) -> int:
    """Reads and writes count alike (mt_perf_to_adistance)."""
    return tiers.adistance(
        node.read_latency_ns + node.write_latency_ns,
        node.read_bandwidth_mb_s + node.write_bandwidth_mb_s,
        dram.read_latency_ns + dram.write_latency_ns,
        dram.read_bandwidth_mb_s + dram.write_bandwidth_mb_s,
    )
