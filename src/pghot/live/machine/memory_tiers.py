"""Which tier each node is in: what the kernel says, or what it would say (mm/memory-tiers.c).

Linux >= 6.1 shows its tiers in /sys/devices/virtual/memory_tiering; since 6.7 (drivers/acpi/numa/hmat.c) it forms
them from latency and bandwidth. Where a kernel knows these but puts everything into one tier (before 6.7, or because no
node with memory has CPUs, so that it knows no DRAM to compare with), or has no tiers at all, pghot forms them the way
newer kernels do. Without attributes, nodes without CPUs are below nodes with CPUs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pghot.kernel.node_access import NodeAccess
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.toptier import TIERS, shown_tiers
from pghot.policies import tiers

# MEMTIER_DEFAULT_DAX_ADISTANCE: where the kernel puts memory that a driver adds without attributes.
ADISTANCE_DAX = 5 * tiers.ADISTANCE_DRAM


@dataclass(frozen=True, slots=True)
class TierNumbers:
    """The N of memory_tierN of each node with memory.

    source  "memory_tiering": from the kernel; "attributes": from latency and bandwidth; "CPUs": by which have CPUs
    why     why the kernel's own tiers were not used, in words
    """

    number: Mapping[int, int]
    source: str
    why: str = ""


def read_tiers(
    root: SysRoot, nodes: Sequence[int], with_cpus: Sequence[int], access: Mapping[int, NodeAccess]
) -> TierNumbers:
    """Tiers of `nodes` (those with memory). Raises `PghotError` when a nodelist is no list."""
    shown = shown_tiers(root)
    formed, source = formed_tiers(nodes, with_cpus, access)
    if missing := [node for node in nodes if node not in shown]:
        why = f"{TIERS} names no tier for node {missing[0]}" if root.exists(TIERS) else ""
        return TierNumbers(formed, source, why)
    shown = {node: shown[node] for node in nodes}
    all_in_one = len(set(shown.values())) == 1
    unequal = source == "attributes" and len(set(formed.values())) > 1
    if all_in_one and unequal:
        why = "the kernel has nodes of unequal latency in one tier"
        return TierNumbers(formed, source, why)
    return TierNumbers(shown, "memory_tiering")


def formed_tiers(
    nodes: Sequence[int], with_cpus: Sequence[int], access: Mapping[int, NodeAccess]
) -> tuple[dict[int, int], str]:
    """The tiers that a kernel >= 6.7 would form, and from what.

    >>> formed_tiers([0, 2], [0], {})
    ({0: 4, 2: 22}, 'CPUs')
    """
    with_access = [node for node in nodes if node in access]
    dram = next((access[node] for node in with_access if node in with_cpus), None)
    if with_access and not any(node in with_cpus for node in nodes):
        # Nothing says which is DRAM: the others are compared with the fastest.
        dram = min((access[node] for node in with_access), key=lambda each: each.read_latency_ns)
    number = {}
    for node in nodes:
        if dram is not None and node in access:
            number[node] = tiers.tier_number(_adistance(access[node], dram))
        else:
            number[node] = tiers.tier_number(tiers.ADISTANCE_DRAM if node in with_cpus else ADISTANCE_DAX)
    return number, "CPUs" if dram is None else "attributes"


def _adistance(node: NodeAccess, dram: NodeAccess) -> int:
    """Reads and writes count alike (mt_perf_to_adistance)."""
    return tiers.adistance(
        node.read_latency_ns + node.write_latency_ns,
        node.read_bandwidth_mb_s + node.write_bandwidth_mb_s,
        dram.read_latency_ns + dram.write_latency_ns,
        dram.read_bandwidth_mb_s + dram.write_bandwidth_mb_s,
    )
