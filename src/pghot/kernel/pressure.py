"""Pressure stall information (PSI, Documentation/accounting/psi.rst)."""

from __future__ import annotations

import re

from pghot.kernel.cgroup import cgroup_path
from pghot.kernel.sysroot import SysRoot

MEMORY = "/proc/pressure/memory"
_SOME = re.compile(r"^some .*total=(\d+)", re.MULTILINE)


def waited_for_memory_us(root: SysRoot, cgroup: str = "") -> int | None:
    """Microseconds in which some task of a cgroup, or of the machine, waited for memory; None: not told."""
    found = _SOME.search(root.read_or(f"{cgroup_path(cgroup)}/memory.pressure" if cgroup else MEMORY))
    return int(found[1]) if found else None
