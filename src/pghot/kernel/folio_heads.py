"""The first page of the folio that a page belongs to, by addresses."""

from __future__ import annotations

import os

import numpy as np

from pghot.arrays import U64
from pghot.kernel.kpageflags import folio_heads
from pghot.kernel.pagemap import PFN_MASK, PRESENT, open_pagemap
from pghot.kernel.shortage import ShortageError
from pghot.kernel.sysroot import SysRoot
from pghot.units import PAGE_BYTES


def first_in_block(address: U64, block_bytes: U64) -> U64:
    """uint64[K]: where the block of each address begins. `block_bytes` are powers of two, 0: a page.

    >>> first_in_block(np.array([0x201234], np.uint64), np.array([2 << 20], np.uint64)).tolist() == [0x200000]
    True
    """
    return address & ~(np.maximum(block_bytes, np.uint64(PAGE_BYTES)) - np.uint64(1))


def first_in_folio(root: SysRoot, pid: int, address: U64) -> U64:
    """uint64[K]: the address of the first page of the folio that each page (uint64[K] bytes, aligned) lies in.

    A page whose folio cannot be told (not present, no rights, its process gone) stays. So does one whose folio the
    process maps in parts only.
    """
    page, back = np.unique(address // np.uint64(PAGE_BYTES), return_inverse=True)
    try:
        pagemap = open_pagemap(root, pid)
    except (OSError, ShortageError):
        return address
    try:
        frame = _frames(pagemap, page)
        head, _ = folio_heads(root, frame)
        first = page - (frame - head)
        whole = (head != 0) & (_frames(pagemap, first) == head)
    except (OSError, ShortageError):
        return address
    finally:
        os.close(pagemap)
    found: U64 = np.where(whole, first, page)[back] * np.uint64(PAGE_BYTES)
    return found


def _frames(pagemap: int, page: U64) -> U64:
    """The page frame number of each page (address / 4096), 0 where there is none or it may not be seen."""
    data = b"".join(os.pread(pagemap, 8, 8 * each).ljust(8, b"\0") for each in page.tolist())
    entry = np.frombuffer(data, np.uint64)
    return np.where(entry & np.uint64(PRESENT), entry & np.uint64(PFN_MASK), np.uint64(0))
