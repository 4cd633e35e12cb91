"""`/proc/vmstat`: machine-wide counters (mm/vmstat.c)."""

from __future__ import annotations

import re

from pghot.kernel.sysroot import SysRoot


def vmstat_values(root: SysRoot, names: str) -> list[int]:
    """The counters whose names match a regular expression, in the kernel's order."""
    found = re.findall(rf"^(?:{names}) (\d+)$", root.read_or("/proc/vmstat"), re.MULTILINE)
    return [int(value) for value in found]


def vmstat(root: SysRoot, name: str) -> int:
    """A counter, 0 when this kernel does not have it."""
    return next(iter(vmstat_values(root, name)), 0)
