"""`/proc/meminfo` and the meminfo of each node (fs/proc/meminfo.c, drivers/base/node.c)."""

from __future__ import annotations

import re

from pghot.kernel.node_files import NODES
from pghot.kernel.sysroot import SysRoot
from pghot.units import PAGE_BYTES

_PAGE_KIB = PAGE_BYTES // 1024


def meminfo_pages(root: SysRoot, key: str) -> int:
    """A size of the machine in pages, 0 where the kernel has none. Zswap and Zswapped: Linux >= 5.19."""
    return _pages(root.read_or("/proc/meminfo"), rf"^{key}")


def node_meminfo_pages(root: SysRoot, node: int, key: str) -> int:
    """A size of a node in pages, 0 when it has none."""
    return _pages(root.read_or(f"{NODES}/node{node}/meminfo"), rf"\b{key}")


def _pages(text: str, name: str) -> int:
    match = re.search(rf"{name}:\s*(\d+) kB", text, re.MULTILINE)
    return int(match[1]) // _PAGE_KIB if match else 0
