"""`/proc/kpageflags`: what the kernel says of page frames, eight bytes for each.

Documentation/admin-guide/mm/pagemap.rst.
"""

from __future__ import annotations

import os

import numpy as np

from pghot.arrays import U64
from pghot.kernel.sysroot import SysRoot

KPAGEFLAGS = "/proc/kpageflags"
KPF_LRU = 1 << 5
KPF_COMPOUND_HEAD = 1 << 15
KPF_COMPOUND_TAIL = 1 << 16
# Anonymous folios are at most 2 MiB and aligned to their size: the head of a tail is in its block of so many.
_BLOCK = 512


def folio_heads(root: SysRoot, frame: U64) -> tuple[U64, U64]:
    """The first frame of the folio of each page frame (uint64[K]), and the flags of that one; 0: there is no memory.

    Raises `OSError`.
    """
    block, where = np.unique(frame // np.uint64(_BLOCK), return_inverse=True)
    flags = _flags_of_blocks(root, block)
    inside = np.arange(_BLOCK)
    last_head = np.maximum.accumulate(np.where(flags & np.uint64(KPF_COMPOUND_HEAD), inside, 0), axis=1)
    at = (frame % np.uint64(_BLOCK)).astype(np.int64)
    tail = (flags[where, at] & np.uint64(KPF_COMPOUND_TAIL)) != 0
    at = np.where(tail, last_head[where, at], at)
    return block[where] * np.uint64(_BLOCK) + at.astype(np.uint64), flags[where, at]


def _flags_of_blocks(root: SysRoot, block: U64) -> U64:
    """uint64[B, 512]: flags of all frames of each block, 0 where there is no memory."""
    flags = np.zeros((len(block), _BLOCK), np.uint64)
    fd = root.open(KPAGEFLAGS, os.O_RDONLY)
    try:
        for row, number in enumerate(block.tolist()):
            data = os.pread(fd, 8 * _BLOCK, 8 * _BLOCK * number)
            flags[row, : len(data) // 8] = np.frombuffer(data, np.uint64, len(data) // 8)
    finally:
        os.close(fd)
    return flags
