"""`/proc/iomem`: where the physical memory is (kernel/resource.c)."""

from __future__ import annotations

import re

from pghot.kernel.needs import Need
from pghot.kernel.sysroot import SysRoot

IOMEM = "/proc/iomem"
_DRIVERS = re.compile(r"^\s*([0-9a-f]{1,16})-([0-9a-f]{1,16}) : System RAM \(([^)]+)\)", re.MULTILINE)
_RAM = re.compile(r"^\s*([0-9a-f]{1,16})-([0-9a-f]{1,16}) : System RAM", re.MULTILINE)


def iomem_need(root: SysRoot) -> Need:
    """Whether this user may know where the physical memory is."""
    what = f"where the physical memory is: {IOMEM}"
    if system_ram(root):
        return Need(what)
    return Need(what, "not permitted", f"{IOMEM} hides addresses", "run as root")


def drivers_ram(root: SysRoot) -> list[tuple[int, str]]:
    """First byte and driver of each range that a driver added, such as "System RAM (NVIDIA)" (Linux >= 5.10,
    add_memory_driver_managed). Empty without CAP_SYS_ADMIN."""
    found = _DRIVERS.findall(root.read_or(IOMEM))
    return [(int(start, 16), driver) for start, end, driver in found if int(end, 16)]


def system_ram(root: SysRoot) -> list[tuple[int, int]]:
    """Ranges [start, end) of memory in bytes, ascending; that of CXL devices ("System RAM (kmem)") is among them.

    Empty without CAP_SYS_ADMIN: the kernel shows zeros then.
    """
    found = [(int(start, 16), int(end, 16) + 1) for start, end in _RAM.findall(root.read_or(IOMEM))]
    return sorted(each for each in found if each != (0, 1))
