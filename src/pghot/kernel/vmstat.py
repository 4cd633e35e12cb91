"""`/proc/vmstat`: machine-wide counters (mm/vmstat.c)."""

from __future__ import annotations

from pghot.kernel.sysroot import SysRoot


def vmstat(root: SysRoot, name: str) -> int:
    """A counter, 0 when this kernel does not have it."""
    for line in root.read_or("/proc/vmstat").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
