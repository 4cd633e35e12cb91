"""`/proc/PID/pagemap` and `clear_refs` (Documentation/admin-guide/mm/pagemap.rst, soft-dirty.rst)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pghot.arrays import U64
from pghot.kernel.pagemap_scan import PagemapScan
from pghot.kernel.process import resident_bytes
from pghot.kernel.ranges import bridged, overlap, pages_of
from pghot.kernel.smaps import mappings_in_use
from pghot.kernel.sysroot import SysRoot
from pghot.units import PAGE_BYTES

PFN_MASK = (1 << 55) - 1
SOFT_DIRTY = 1 << 55
FILE_OR_SHARED = 1 << 61
SWAPPED = 1 << 62
PRESENT = 1 << 63

CLEAR_SOFT_DIRTY = "4"
_NEAR_PAGES = 512  # a gap of so many entries between two wanted ones is read, not skipped
_CHUNK_PAGES = 1 << 17  # 1 MiB of entries, 512 MiB of addresses
# More than this beyond what is resident is a reservation. Reading as much from pagemap takes about 30 ms.
_RESERVED_BYTES = 4 << 30
_RESERVED_TIMES = 16


def open_pagemap(root: SysRoot, pid: int) -> int:
    """A descriptor of the file: eight bytes for each page. Raises `OSError`: gone, or not this user's."""
    return root.open(f"/proc/{pid}/pagemap", os.O_RDONLY)


def held_pages(root: SysRoot, pid: int, start: U64, end: U64, most: int) -> Iterator[U64]:
    """The addresses (uint64[K], ascending) of those pages of the ranges that are in memory or swap, and perhaps some
    that are not; at most `most` at a time, and none now and then, so that whoever takes them can stop in between.

    start, end  uint64[R]  bytes, ascending and disjoint

    Costs what is resident. Kernels before 6.7, which lack PAGEMAP_SCAN, name every page. If what is reserved is much
    more than what is resident, they are asked which mappings have pages, and for 8 bytes for each page of those.
    Raises `OSError`: gone, or not this user's.
    """
    fd = open_pagemap(root, pid)
    try:
        scan = PagemapScan(fd)
        if scan.supported():
            for part in scan.held(*bridged(start, end, _NEAR_PAGES * PAGE_BYTES)):
                yield from pages_of(*overlap(start, end, *part), most)
        elif _reserves(root, pid, start, end):
            used = mappings_in_use(root, pid)
            for address in pages_of(*overlap(start, end, *used), _CHUNK_PAGES):
                held = _entries(fd, address) & np.uint64(PRESENT | SWAPPED) != 0
                for begin in range(0, len(address), most):
                    yield address[begin : begin + most][held[begin : begin + most]]
        else:
            yield from pages_of(start, end, most)
    finally:
        os.close(fd)


def _reserves(root: SysRoot, pid: int, start: U64, end: U64) -> bool:
    """Whether most of the ranges is only reserved."""
    resident = resident_bytes(root, pid)
    return resident > 0 and int((end - start).sum()) > _RESERVED_BYTES + _RESERVED_TIMES * resident


def read_entries(root: SysRoot, pid: int, start: int | U64, end: int | U64) -> Iterator[tuple[U64, U64]]:
    """Addresses and entries (both uint64[K]) of the pages in bytes [start, end), one range or several, in pieces.

    Pages of which nothing is in memory or swap may be left out. PFNs are 0 without CAP_SYS_ADMIN.
    Raises `OSError`: gone, or not this user's.
    """
    first, last = np.atleast_1d(np.asarray(start, np.uint64)), np.atleast_1d(np.asarray(end, np.uint64))
    fd = open_pagemap(root, pid)
    try:
        for address in held_pages(root, pid, first, last, _CHUNK_PAGES):
            yield address, _entries(fd, address)
    finally:
        os.close(fd)


def _entries(fd: int, address: U64) -> U64:
    """The entries uint64[K] of these pages (uint64[K] bytes, ascending), 0 where the file ends before."""
    vpn = (address // np.uint64(PAGE_BYTES)).astype(np.int64)
    entries = np.zeros(len(vpn), np.uint64)
    breaks = np.flatnonzero(np.diff(vpn) > _NEAR_PAGES) + 1
    for begin, stop in zip([0, *breaks.tolist()], [*breaks.tolist(), len(vpn)], strict=True):
        part = vpn[begin:stop]
        if len(part) == 0:
            continue
        data = os.pread(fd, 8 * int(part[-1] - part[0] + 1), 8 * int(part[0]))
        there = np.frombuffer(data, np.uint64, len(data) // 8)
        known = int(np.searchsorted(part, part[0] + len(there)))
        entries[begin : begin + known] = there[part[:known] - part[0]]
    return entries


class OpenPagemap:
    """The pagemap of a process, kept open: says in one short read whether its memory is still there.

    The kernel binds an open pagemap to the memory that the process had when it was opened, and reads nothing from it
    once that memory is gone by exit or exec, even if another process has the pid by then (pagemap_read,
    fs/proc/task_mmu.c).
    """

    def __init__(self, root: SysRoot, pid: int) -> None:
        """Raises `OSError`: gone, or not this user's."""
        self._fd = open_pagemap(root, pid)

    def __enter__(self) -> OpenPagemap:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._fd)

    def still_there(self) -> bool:
        """Whether the memory still exists."""
        return len(os.pread(self._fd, 8, 0)) == 8


def flagged(root: SysRoot, pid: int, start: int | U64, end: int | U64, flags: int) -> U64:
    """Addresses uint64[K] of the present pages in [start, end) whose entry has all of `flags`. See `read_entries`."""
    wanted = np.uint64(flags | PRESENT)
    return _addresses(root, pid, start, end, wanted, wanted)


def anonymous(root: SysRoot, pid: int, start: int | U64, end: int | U64) -> U64:
    """Addresses uint64[K] of the present pages in [start, end) that are private and of no file."""
    return _addresses(root, pid, start, end, np.uint64(PRESENT | FILE_OR_SHARED), np.uint64(PRESENT))


def anonymous_now(root: SysRoot, pid: int, address: U64) -> npt.NDArray[np.bool_]:
    """bool[K]: which of these pages (uint64[K] bytes) are present, private and of no file; none of a process that is
    gone, or not this user's."""
    page, back = np.unique(address & ~np.uint64(PAGE_BYTES - 1), return_inverse=True)
    try:
        fd = open_pagemap(root, pid)
    except OSError:
        return np.zeros(len(address), np.bool_)
    try:
        found: npt.NDArray[np.bool_] = _entries(fd, page) & np.uint64(PRESENT | FILE_OR_SHARED) == PRESENT
    finally:
        os.close(fd)
    return found[back]


def _addresses(
    root: SysRoot, pid: int, start: int | U64, end: int | U64, mask: np.uint64, value: np.uint64
) -> U64:
    """Addresses uint64[K] of the pages whose entry is `value` in the bits of `mask`."""
    found = [address[entries & mask == value] for address, entries in read_entries(root, pid, start, end)]
    return np.concatenate(found) if found else np.empty(0, np.uint64)


def pfns(root: SysRoot, pid: int, start: int | U64, end: int | U64) -> tuple[U64, U64]:
    """Addresses and page frame numbers (both uint64[K]) of the present pages in [start, end)."""
    address, frame = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for pages, entries in read_entries(root, pid, start, end):
        held = entries & np.uint64(PRESENT) != 0
        address.append(pages[held])
        frame.append(entries[held] & np.uint64(PFN_MASK))
    return np.concatenate(address), np.concatenate(frame)


def frames_of(root: SysRoot, pid: int, address: U64) -> U64:
    """uint64[K]: the frame of each page (uint64[K] bytes, ascending), 0: not present, or hidden. Raises `OSError` as
    `read_entries`."""
    fd = open_pagemap(root, pid)
    try:
        entries = _entries(fd, address)
    finally:
        os.close(fd)
    frames: U64 = np.where(entries & np.uint64(PRESENT), entries & np.uint64(PFN_MASK), np.uint64(0))
    return frames


def swapped(root: SysRoot, pid: int, address: U64) -> npt.NDArray[np.bool_]:
    """bool[K]: which of these pages (uint64[K] bytes, ascending) are in swap. Raises `OSError` as `read_entries`.

    A migrating page has the bit for a moment, too. One that was read into the swap cache has it until it is touched.
    """
    fd = open_pagemap(root, pid)
    try:
        out: npt.NDArray[np.bool_] = _entries(fd, address) & np.uint64(SWAPPED) != 0
        return out
    finally:
        os.close(fd)


def clear_soft_dirty(root: SysRoot, pid: int) -> None:
    """Mark all pages of the process clean; its next write to each faults once. Raises `OSError`."""
    root.write(f"/proc/{pid}/clear_refs", CLEAR_SOFT_DIRTY)
