"""`/proc/meminfo` and the meminfo of each node (fs/proc/meminfo.c, drivers/base/node.c)."""

from __future__ import annotations

import re

from pghot.kernel.node_files import NODES
from pghot.kernel.sysroot import SysRoot
from pghot.units import PAGE_BYTES


def meminfo_pages(root: SysRoot, key: str) -> int:
    """A size of the machine in pages, 0 where the kernel has none. Zswap and Zswapped: Linux >= 5.19."""
    return _bytes(root.read_or("/proc/meminfo"), rf"^{key}") // PAGE_BYTES


def node_meminfo_pages(root: SysRoot, node: int, key: str) -> int:
    """A size of a node in pages, 0 when it has none."""
    return node_meminfo_bytes(root, node, key) // PAGE_BYTES


def node_meminfo_bytes(root: SysRoot, node: int, key: str) -> int:
    """The same in bytes."""
    return _bytes(root.read_or(f"{NODES}/node{node}/meminfo"), rf"\b{key}")


def _bytes(text: str, name: str) -> int:
    match = re.search(rf"{name}:\s*(\d+) kB", text, re.MULTILINE)
    return int(match[1]) << 10 if match else 0
