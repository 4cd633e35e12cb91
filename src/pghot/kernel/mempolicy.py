"""Memory policies as `/proc/PID/numa_maps` shows them (mm/mempolicy.c: mpol_to_str, show_numa_map).

The kernel does not scan a mapping for hint faults whose policy lacks MPOL_F_MOF (vma_policy_mof): every policy that was
set by set_mempolicy(2), mbind(2) or numactl, unless with MPOL_F_NUMA_BALANCING. The default policy has it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from pghot.arrays import U64
from pghot.kernel.sysroot import SysRoot
from pghot.units import PAGE_BYTES

# Address, policy, and what stands behind its name: the mode, "(many)", flags and nodes, then what is there.
_LINE = re.compile(
    r"^([0-9a-f]{1,16}) (bind|prefer|interleave|weighted interleave|local)\b([^\n]*)", re.MULTILINE
)
_ANON = re.compile(r" anon=(\d{1,15})\b")


@dataclass(frozen=True, slots=True)
class Policies:
    """What the policies of a process mean for us.

    bound            uint64[K]  start addresses, ascending, of mappings under a strict policy (MPOL_BIND): their owner
                     has said where they belong
    unscanned_bytes  anonymous memory under any other policy that keeps hint faults away, hugetlb aside
    """

    bound: U64
    unscanned_bytes: int


def read_policies(root: SysRoot, pid: int) -> Policies:
    """Reading numa_maps walks the page tables: do it rarely. Of a process that has ended, none."""
    bound, pages = set(), 0
    for start, policy, rest in _LINE.findall(root.read_or(f"/proc/{pid}/numa_maps")):
        flags = rest.partition(":")[0]
        if policy == "bind":
            bound.add(int(start, 16))
        elif "balancing" not in flags and " huge" not in rest:
            pages += sum(map(int, _ANON.findall(rest)))
    return Policies(np.array(sorted(bound), np.uint64), pages * PAGE_BYTES)
