"""Which node a page frame is on, from the memory blocks of sysfs (drivers/base/memory.c).

A block is the unit of memory hotplug: 128 MiB, or up to 2 GiB on large machines. `nodeN/memoryK` says that block K
has memory of node N.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pghot.errors import UnsupportedError
from pghot.kernel.node_files import NODES, read_number
from pghot.kernel.sysroot import SysRoot
from pghot.units import PAGE_BYTES

BLOCK_SIZE = "/sys/devices/system/memory/block_size_bytes"
SHARED_BLOCK = -1


@dataclass(frozen=True, slots=True)
class BlockRange:
    """Neighbouring blocks of one node; node is -1 where two nodes meet inside the block.

    >>> BlockRange(0, 0, 32768).end_pfn
    32768
    """

    node: int
    first_pfn: int
    pages: int

    @property
    def end_pfn(self) -> int:
        return self.first_pfn + self.pages


def read_block_ranges(root: SysRoot) -> tuple[BlockRange, ...]:
    """All blocks by page frame, neighbours joined. Raises `UnsupportedError` on a kernel without memory blocks."""
    size = read_number(root, BLOCK_SIZE, base=16)
    if not size:
        raise UnsupportedError(
            f"this kernel has no {BLOCK_SIZE}", "boot a kernel with CONFIG_MEMORY_HOTPLUG=y"
        )
    owner: dict[int, int] = {}
    for entry in root.list(NODES):
        if node := re.fullmatch(r"node(\d+)", entry):
            for name in root.list(f"{NODES}/{entry}"):
                if block := re.fullmatch(r"memory(\d+)", name):
                    number = int(block[1])
                    owner[number] = SHARED_BLOCK if number in owner else int(node[1])
    return _joined(owner, size // PAGE_BYTES)


def _joined(owner: dict[int, int], pages: int) -> tuple[BlockRange, ...]:
    ranges: list[BlockRange] = []
    for block in sorted(owner):
        first = block * pages
        if ranges and ranges[-1].node == owner[block] and ranges[-1].end_pfn == first:
            ranges[-1] = BlockRange(owner[block], ranges[-1].first_pfn, ranges[-1].pages + pages)
        else:
            ranges.append(BlockRange(owner[block], first, pages))
    return tuple(ranges)
