"""Large folios of anonymous memory: transparent huge pages (mm/huge_memory.c) and the sizes between.

move_pages of one 4 KiB page moves the whole folio that it is part of.
"""

from __future__ import annotations

import re

from pghot.kernel.sysroot import SysRoot
from pghot.kernel.vmstat import vmstat_values

_THP = "/sys/kernel/mm/transparent_hugepage"


def has_large_folios(root: SysRoot, pid: int) -> bool:
    """Whether the process may have folios larger than a page. Walks its page tables: do it rarely.

    No counter of a process shows folios smaller than 2 MiB, so a size that is switched on counts as yes.
    """
    if small_sizes_on(root):
        return True
    rollup = root.read_or(f"/proc/{pid}/smaps_rollup")
    huge = re.search(r"^AnonHugePages:\s*(\d+)", rollup, re.MULTILINE)
    return huge is not None and int(huge[1]) > 0


def folio_births(root: SysRoot) -> list[int]:
    """Counters that change whenever any program gets a folio of 2 MiB; cheap to read (0.05 ms).

    thp_fault_alloc and thp_collapse_alloc count them (also those of khugepaged) before they can be used.
    """
    return vmstat_values(root, "thp_(?:fault|collapse)_alloc")


def small_sizes_on(root: SysRoot) -> bool:
    """Whether anonymous memory may get folios between a page and 2 MiB (Linux >= 6.8, a switch for each size).

    A size without the switch is one of shared memory only.
    """
    switches = [
        root.read_or(f"{_THP}/{size}/enabled")
        for size in root.list(_THP)
        if (kib := re.fullmatch(r"hugepages-(\d+)kB", size)) and int(kib[1]) < 2048
    ]
    if any("[inherit]" in switch for switch in switches):
        switches.append(root.read_or(f"{_THP}/enabled"))
    return any("[always]" in switch or "[madvise]" in switch for switch in switches)


def shmem_folios_on(root: SysRoot) -> bool:
    """Whether shared memory may get folios larger than a page (a switch for each size since Linux 6.12)."""
    switches = [root.read_or(f"{_THP}/{size}/shmem_enabled") for size in root.list(_THP)]
    on = [switch.partition("[")[2].partition("]")[0] for switch in switches]
    on.append(root.read_or(f"{_THP}/shmem_enabled").partition("[")[2].partition("]")[0])
    return any(each not in ("", "never", "deny", "inherit") for each in on)
