"""Compressed swap as a place for cold pages: zram, or any swap behind zswap. What there is, how full, what it saves."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from pghot.kernel.meminfo import meminfo_pages
from pghot.kernel.needs import Need
from pghot.kernel.process import has_capability, with_capabilities
from pghot.kernel.swap import (
    SwapArea,
    read_swaps,
    read_zram,
    zswap_enabled,
    zswap_limit_pages,
)
from pghot.kernel.sysroot import SysRoot
from pghot.units import PAGE_BYTES

FREE_SHARE = 0.05  # of the swap stays free for the kernel's own reclaim
_MAKE_ZRAM = (
    "modprobe zram && echo 4G > /sys/block/zram0/disksize && mkswap /dev/zram0 && swapon -p 100 /dev/zram0"
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What compressed swap holds now, of all programs.

    original_bytes    what its pages take uncompressed
    compressed_bytes  what they take
    used_bytes        the memory used for them, with the allocator's own; of zswap the same as compressed_bytes
    """

    original_bytes: int = 0
    compressed_bytes: int = 0
    used_bytes: int = 0


@dataclass(frozen=True, slots=True)
class CompressedSwap:
    """kind "zram": `areas` are the zram devices that are filled before any disk; "zswap": all swap areas."""

    kind: str
    areas: tuple[SwapArea, ...]

    @property
    def capacity_pages(self) -> int:
        return sum(area.size_pages for area in self.areas)

    @property
    def floor_pages(self) -> int:
        """What stays free."""
        return int(self.capacity_pages * FREE_SHARE)

    def free_pages(self, root: SysRoot) -> int:
        """Pages that certainly fit: even if none of them compressed, the memory limits would hold."""
        paths = {area.path for area in self.areas}
        now = [area for area in read_swaps(root) if area.path in paths]
        free = sum(area.size_pages - area.used_pages for area in now)
        if self.kind == "zswap":
            pool = zswap_limit_pages(root) - meminfo_pages(root, "Zswap")
            return max(0, min(free, pool))
        return max(0, free - sum(_beyond_limit(root, area) for area in now))

    def usage(self, root: SysRoot) -> Usage:
        """What it holds and what that takes; zeros for what cannot be read."""
        if self.kind == "zswap":
            original, compressed = (meminfo_pages(root, key) * PAGE_BYTES for key in ("Zswapped", "Zswap"))
            return Usage(original, compressed, compressed)
        total = [0, 0, 0]
        for area in self.areas:
            with contextlib.suppress(OSError, ValueError):
                stat = read_zram(root, area.zram)
                each = (stat.original_bytes, stat.compressed_bytes, stat.used_bytes)
                total = [a + b for a, b in zip(total, each, strict=True)]
        return Usage(*total)


def _beyond_limit(root: SysRoot, area: SwapArea) -> int:
    """Free pages of a zram device that its mem_limit may not have room for."""
    try:
        stat = read_zram(root, area.zram)
    except (OSError, ValueError):
        return 0
    free = area.size_pages - area.used_pages
    return max(0, free - (stat.limit_bytes - stat.used_bytes) // PAGE_BYTES) if stat.limit_bytes else 0


def find_compressed_swap(root: SysRoot) -> CompressedSwap | None:
    """The compressed swap that the kernel uses next, None when the next page would go to a disk or nowhere."""
    areas = read_swaps(root)
    if not areas:
        return None
    if zswap_enabled(root):
        return CompressedSwap("zswap", tuple(areas))
    highest = max((area.priority for area in areas if not area.zram), default=None)
    first = tuple(area for area in areas if area.zram and (highest is None or area.priority > highest))
    return CompressedSwap("zram", first) if first else None


def compressed_needs(root: SysRoot) -> list[Need]:
    """Every condition of putting pages of programs into compressed swap and back."""
    return [_kernel_need(root), _swap_need(root), *_rights(root)]


def _kernel_need(root: SysRoot) -> Need:
    what = "process_madvise with MADV_PAGEOUT and MADV_WILLNEED"
    release = root.release()
    if release >= (5, 16):
        return Need(what)
    # MADV_PAGEOUT of other processes is of 5.10, MADV_WILLNEED of 5.16.
    return Need(
        what, "unsupported", f"Linux {release[0]}.{release[1]} lacks one of the two", "Linux 5.16 or later"
    )


def _swap_need(root: SysRoot) -> Need:
    what = "swap that is compressed memory"
    areas = read_swaps(root)
    if not areas:
        return Need(what, "unsupported", "no swap is in use", _MAKE_ZRAM)
    swap = find_compressed_swap(root)
    if swap is None:
        path = max((area for area in areas if not area.zram), key=lambda area: area.priority).path
        why = f"the next page would go to {path}, which is no compressed memory"
        return Need(
            what, "unsupported", why, f"echo Y > /sys/module/zswap/parameters/enabled, or {_MAKE_ZRAM}"
        )
    if swap.kind == "zswap" and root.release() < (5, 19):
        why = "zswap does not say what it holds (no Zswapped in /proc/meminfo)"
        return Need(what, "unsupported", why, "Linux 5.19 or later, or zram")
    if swap.free_pages(root) <= swap.floor_pages:
        why = f"the {swap.kind} swap is nearly full: {FREE_SHARE:.0%} of it stays free"
        return Need(what, "unsupported", why, "a larger one, or wait until programs have ended")
    return Need(what)


def _rights(root: SysRoot) -> list[Need]:
    """process_madvise asks for CAP_SYS_NICE (Linux >= 5.12), and both calls for ptrace access."""
    both = with_capabilities("CAP_SYS_NICE", "CAP_SYS_PTRACE")
    found = []
    for name, what in (
        ("CAP_SYS_NICE", "advice about the memory of other programs"),
        ("CAP_SYS_PTRACE", "access to other users' programs"),
    ):
        if has_capability(root, name):
            found.append(Need(what))
        else:
            found.append(Need(what, "not permitted", f"{name} is missing", f"sudo pghot ..., or {both}"))
    return found
