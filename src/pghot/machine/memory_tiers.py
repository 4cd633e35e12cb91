"""Which tier each node is in: what the kernel says, or what it would say (mm/memory-tiers.c).

Linux >= 6.1 shows its tiers in /sys/devices/virtual/memory_tiering. Where it does not, they are formed here as the
kernel (>= 6.7, drivers/acpi/numa/hmat.c) does it from latency and bandwidth; without those, nodes without CPUs are
below the nodes with CPUs.
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
    why     what was wrong with the kernel's own tiers; empty when there are none, or they were used
    """

    number: Mapping[int, int]
    source: str
    why: str = ""


def read_tiers(
    root: SysRoot, nodes: Sequence[int], with_cpus: Sequence[int], access: Mapping[int, NodeAccess]
) -> TierNumbers:
    """Tiers of `nodes` (those with memory). Raises `PghotError` when a nodelist is no list."""
    shown: dict[int, int] = {}
    for name in root.list(TIERS):
        if match := re.fullmatch(r"memory_tier(\d+)", name):
            shown |= dict.fromkeys(read_list(root, f"{TIERS}/{name}/nodelist"), int(match[1]))
    if set(nodes) <= set(shown):
        return TierNumbers({node: shown[node] for node in nodes}, "memory_tiering")
    missing = ", ".join(str(node) for node in nodes if node not in shown)
    why = f"{TIERS} names no tier for node {missing}" if root.exists(TIERS) else ""
    return formed_tiers(nodes, with_cpus, access, why)


def formed_tiers(
    nodes: Sequence[int], with_cpus: Sequence[int], access: Mapping[int, NodeAccess], why: str = ""
) -> TierNumbers:
    """The tiers that the kernel would form.

    >>> formed_tiers([0, 2], [0], {}).number
    {0: 4, 2: 22}
    """
    dram = next((access[node] for node in nodes if node in with_cpus and node in access), None)
    number = {}
    for node in nodes:
        if dram is not None and node in access:
            number[node] = tiers.tier_number(_adistance(access[node], dram))
        else:
            number[node] = tiers.tier_number(tiers.ADISTANCE_DRAM if node in with_cpus else ADISTANCE_DAX)
    return TierNumbers(number, "CPUs" if dram is None else "attributes", why)


def _adistance(node: NodeAccess, dram: NodeAccess) -> int:
    """Reads and writes count alike (mt_perf_to_adistance)."""
    return tiers.adistance(
        node.read_latency_ns + node.write_latency_ns,
        node.read_bandwidth_mb_s + node.write_bandwidth_mb_s,
        dram.read_latency_ns + dram.write_latency_ns,
        dram.read_bandwidth_mb_s + dram.write_bandwidth_mb_s,
    )
