"""The first page of the folio that a page belongs to (Documentation/admin-guide/mm/pagemap.rst)."""

from __future__ import annotations

import os

import numpy as np

from pghot.arrays import U64
from pghot.kernel.pagemap import PFN_MASK, PRESENT, open_pagemap
from pghot.kernel.sysroot import SysRoot
from pghot.units import PAGE_BYTES

KPAGEFLAGS = "/proc/kpageflags"
COMPOUND_HEAD, COMPOUND_TAIL = 1 << 15, 1 << 16
_MOST_PAGES = 512  # of an anonymous folio on x86; it is aligned to its size


def first_in_block(address: U64, block_bytes: U64) -> U64:
    """uint64[K]: where the block of each address begins. `block_bytes` are powers of two, 0: a page.

    >>> first_in_block(np.array([0x201234], np.uint64), np.array([2 << 20], np.uint64)).tolist() == [0x200000]
    True
    """
    return address & ~(np.maximum(block_bytes, np.uint64(PAGE_BYTES)) - np.uint64(1))


def first_in_folio(root: SysRoot, pid: int, address: U64) -> U64:
    """uint64[K]: the address of the first page of the folio that each address (uint64[K]) lies in.

    An address whose folio cannot be told (not present, no rights, its process gone) stays. So does one whose folio the
    process maps in parts only.
    """
    page, back = np.unique(address // np.uint64(PAGE_BYTES), return_inverse=True)
    try:
        pagemap = open_pagemap(root, pid)
    except OSError:
        return address
    try:
        flags = os.open(root.path(KPAGEFLAGS), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        os.close(pagemap)
        return address
    try:
        first = np.array([_first(pagemap, flags, each) for each in page.tolist()], np.uint64)
    finally:
        os.close(pagemap)
        os.close(flags)
    found: U64 = first[back] * np.uint64(PAGE_BYTES)
    return np.where(found // np.uint64(PAGE_BYTES) == page[back], address, found)


def _first(pagemap: int, flags: int, page: int) -> int:
    """The number of the first page of the folio of this page (address / 4096)."""
    frame = _frame(pagemap, page)
    if not frame:
        return page
    begin = frame - frame % _MOST_PAGES
    held = np.frombuffer(os.pread(flags, 8 * (frame - begin + 1), 8 * begin), np.uint64)
    if len(held) <= frame - begin or not int(held[-1]) & COMPOUND_TAIL:
        return page
    heads = np.flatnonzero(held & np.uint64(COMPOUND_HEAD))
    if len(heads) == 0:
        return page
    head = begin + int(heads[-1])
    first = page - (frame - head)
    return first if first >= 0 and _frame(pagemap, first) == head else page


def _frame(pagemap: int, page: int) -> int:
    """The page frame number, 0 where there is none or it may not be seen."""
    entry = int.from_bytes(os.pread(pagemap, 8, 8 * page), "little")
    return entry & PFN_MASK if entry & PRESENT else 0
