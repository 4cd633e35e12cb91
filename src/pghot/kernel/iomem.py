"""`/proc/iomem`: where the physical memory is (kernel/resource.c)."""

from __future__ import annotations

import re

from pghot.kernel.sysroot import SysRoot

_RAM = re.compile(r"^\s*([0-9a-f]+)-([0-9a-f]+) : System RAM", re.MULTILINE)


def system_ram(root: SysRoot) -> list[tuple[int, int]]:
    """Ranges [start, end) of memory in bytes, ascending; that of CXL devices ("System RAM (kmem)") is among them.

    Empty without CAP_SYS_ADMIN: the kernel shows zeros then.
    """
    found = [(int(start, 16), int(end, 16) + 1) for start, end in _RAM.findall(root.read_or("/proc/iomem"))]
    return sorted(each for each in found if each != (0, 1))
