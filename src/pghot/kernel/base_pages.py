"""The kernel's base page (PAGE_SIZE): 16 or 64 KiB on some arm64 and ppc64 kernels, with another pagemap index."""

from __future__ import annotations

import os

from pghot.kernel.meminfo import node_meminfo_bytes
from pghot.kernel.needs import Need
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.zoneinfo import read_zoneinfo
from pghot.units import PAGE_BYTES, format_size

_KNOWN_BYTES = (4 << 10, 16 << 10, 64 << 10)  # arm64 has all of them, ppc64 the first and the last


def base_page_bytes(root: SysRoot) -> int:
    """Size of a base page. Of a captured tree it is the size at which the zones of its nodes have the nodes' memory;
    ours, when the tree does not tell."""
    if root.live:
        return os.sysconf("SC_PAGE_SIZE")
    zones = read_zoneinfo(root)
    managed = sum(zone.managed for zone in zones)
    total_bytes = sum(node_meminfo_bytes(root, node, "MemTotal") for node in {zone.node for zone in zones})
    if not managed or not total_bytes:
        return PAGE_BYTES
    return min(_KNOWN_BYTES, key=lambda size: abs(size - total_bytes / managed))


def base_page_needs(root: SysRoot) -> list[Need]:
    """What the whole live side needs: base pages of the size that pghot counts in."""
    page_bytes = base_page_bytes(root)
    if page_bytes == PAGE_BYTES:
        return []
    what = f"base pages of {format_size(PAGE_BYTES)}"
    why = f"this kernel's base pages are {format_size(page_bytes)}, and pghot knows {format_size(PAGE_BYTES)} only"
    return [
        Need(what, "unsupported", why, "a kernel with CONFIG_ARM64_4K_PAGES=y, where the CPU is an Arm one")
    ]
