"""Large folios of anonymous memory: transparent huge pages (mm/huge_memory.c) and the sizes between.

move_pages of one 4 KiB page moves the whole folio that it is part of.
"""

from __future__ import annotations

import re

from pghot.kernel.sysroot import SysRoot

_THP = "/sys/kernel/mm/transparent_hugepage"


def has_large_folios(root: SysRoot, pid: int) -> bool:
    """Whether the process may have folios larger than a page.

    Per-size switches exist since Linux 6.8; what is smaller than 2 MiB is in no counter of the process, so one
    that is on counts as yes.
    """
    for size in root.list(_THP):
        kib = re.fullmatch(r"hugepages-(\d+)kB", size)
        if kib and int(kib[1]) < 2048:
            chosen = root.read_or(f"{_THP}/{size}/enabled")
            if "[never]" not in chosen and "[inherit]" not in chosen:
                return True
    rollup = root.read_or(f"/proc/{pid}/smaps_rollup")
    huge = re.search(r"^AnonHugePages:\s*(\d+)", rollup, re.MULTILINE)
    return huge is not None and int(huge[1]) > 0
