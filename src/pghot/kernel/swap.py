"""/proc/swaps and what is behind it: compressed memory (zram, zswap) or a disk (mm/swapfile.c, drivers/block/zram)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pghot.kernel.meminfo import meminfo_pages
from pghot.kernel.node_files import read_number
from pghot.kernel.sysroot import SysRoot
from pghot.units import PAGE_BYTES

SWAPS = "/proc/swaps"
ZSWAP = "/sys/module/zswap/parameters"
_KIB_PAGE = PAGE_BYTES // 1024


@dataclass(frozen=True, slots=True)
class SwapArea:
    """One line of /proc/swaps. The kernel fills areas of higher priority first, those of equal priority in turn."""

    path: str
    size_pages: int
    used_pages: int
    priority: int

    @property
    def zram(self) -> str:
        """The name of its zram device, "" for anything else.

        >>> SwapArea("/dev/zram0", 100, 0, -2).zram
        'zram0'
        """
        match = re.fullmatch(r"/dev/(?:block/)?(zram\d+)", self.path)
        return match[1] if match else ""


@dataclass(frozen=True, slots=True)
class ZramStat:
    """mm_stat of a zram device (Documentation/admin-guide/blockdev/zram.rst).

    original_bytes    what its pages would take
    compressed_bytes  what they take compressed
    used_bytes        what the allocator took for them, fragmentation and bookkeeping included
    limit_bytes       mem_limit, 0: none
    """

    original_bytes: int
    compressed_bytes: int
    used_bytes: int
    limit_bytes: int


def read_swaps(root: SysRoot) -> list[SwapArea]:
    """The swap areas in use; empty without any, or without CONFIG_SWAP."""
    areas = []
    for line in root.read_or(SWAPS).split("\n")[1:]:
        # A space in a file's name is written \040. A file that was deleted has "\040(deleted)" behind its name.
        words = line.split()
        if len(words) >= 5 and all(word.lstrip("-").isdigit() for word in words[-3:]):
            size, used, priority = (int(word) for word in words[-3:])
            areas.append(SwapArea(words[0], size // _KIB_PAGE, used // _KIB_PAGE, priority))
    return areas


def read_zram(root: SysRoot, name: str) -> ZramStat:
    """What a zram device holds. Raises `OSError` when there is no such device, `ValueError` for garbage."""
    words = [int(word) for word in root.read(f"/sys/block/{name}/mm_stat").split()]
    if len(words) < 4:
        raise ValueError(f"mm_stat of {name}")
    return ZramStat(*words[:4])


def zswap_enabled(root: SysRoot) -> bool:
    """Whether pages on their way to any swap area are kept compressed in memory first."""
    return root.read_or(f"{ZSWAP}/enabled") == "Y"


def zswap_limit_pages(root: SysRoot) -> int:
    """How large the pool may grow: max_pool_percent of all memory."""
    return (read_number(root, f"{ZSWAP}/max_pool_percent") or 0) * meminfo_pages(root, "MemTotal") // 100
