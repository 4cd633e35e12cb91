"""`/proc/PID/pagemap` and `clear_refs` (Documentation/admin-guide/mm/pagemap.rst, soft-dirty.rst)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pghot.arrays import U64
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


def open_pagemap(root: SysRoot, pid: int) -> int:
    """A descriptor of the file: eight bytes for each page. Raises `OSError`: gone, or not this user's."""
    return os.open(root.path(f"/proc/{pid}/pagemap"), os.O_RDONLY | os.O_CLOEXEC)


def read_entries(root: SysRoot, pid: int, start: int, end: int) -> Iterator[tuple[int, U64]]:
    """Entries of the pages in bytes [start, end), in chunks of (address of the first page, uint64[K]).

    PFNs are 0 without CAP_SYS_ADMIN. Raises `OSError`: gone, or not this user's.
    """
    fd = open_pagemap(root, pid)
    try:
        for begin in range(start, end, _CHUNK_PAGES * PAGE_BYTES):
            pages = (min(end, begin + _CHUNK_PAGES * PAGE_BYTES) - begin) // PAGE_BYTES
            data = os.pread(fd, 8 * pages, begin // PAGE_BYTES * 8)
            yield begin, np.frombuffer(data, np.uint64, len(data) // 8)
    finally:
        os.close(fd)


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


def flagged(root: SysRoot, pid: int, start: int, end: int, flags: int) -> U64:
    """Addresses uint64[K] of the present pages in [start, end) whose entry has all of `flags`."""
    wanted = np.uint64(flags | PRESENT)
    found = [
        np.uint64(begin)
        + np.flatnonzero(entries & wanted == wanted).astype(np.uint64) * np.uint64(PAGE_BYTES)
        for begin, entries in read_entries(root, pid, start, end)
    ]
    return np.concatenate(found) if found else np.empty(0, np.uint64)


def anonymous(root: SysRoot, pid: int, start: int, end: int) -> U64:
    """Addresses uint64[K] of the present pages in [start, end) that are private and of no file."""
    held, kind = np.uint64(PRESENT), np.uint64(PRESENT | FILE_OR_SHARED)
    found = [
        np.uint64(begin) + np.flatnonzero(entries & kind == held).astype(np.uint64) * np.uint64(PAGE_BYTES)
        for begin, entries in read_entries(root, pid, start, end)
    ]
    return np.concatenate(found) if found else np.empty(0, np.uint64)


def pfns(root: SysRoot, pid: int, start: int, end: int) -> tuple[U64, U64]:
    """Addresses and page frame numbers (both uint64[K]) of the present pages in [start, end)."""
    address, frame = [], []
    for begin, entries in read_entries(root, pid, start, end):
        held = np.flatnonzero(entries & np.uint64(PRESENT))
        address.append(np.uint64(begin) + held.astype(np.uint64) * np.uint64(PAGE_BYTES))
        frame.append(entries[held] & np.uint64(PFN_MASK))
    if not address:
        return np.empty(0, np.uint64), np.empty(0, np.uint64)
    return np.concatenate(address), np.concatenate(frame)


def swapped(root: SysRoot, pid: int, address: U64) -> npt.NDArray[np.bool_]:
    """bool[K]: which of these pages (uint64[K] bytes, ascending) are in swap. Raises `OSError` as `read_entries`.

    A migrating page has the bit for a moment, too. One that was read into the swap cache has it until it is touched.
    """
    found = np.zeros(len(address), np.bool_)
    if len(address) == 0:
        return found
    breaks = np.flatnonzero(np.diff(address) > _NEAR_PAGES * PAGE_BYTES) + 1
    fd = open_pagemap(root, pid)
    try:
        for part in np.split(np.arange(len(address)), breaks):
            vpn = (address[part] // np.uint64(PAGE_BYTES)).astype(np.int64)
            data = os.pread(fd, 8 * int(vpn[-1] - vpn[0] + 1), 8 * int(vpn[0]))
            entries = np.frombuffer(data, np.uint64, len(data) // 8)
            held = vpn - vpn[0] < len(entries)
            found[part[held]] = entries[(vpn - vpn[0])[held]] & np.uint64(SWAPPED) != 0
    finally:
        os.close(fd)
    return found


def clear_soft_dirty(root: SysRoot, pid: int) -> None:
    """Mark all pages of the process clean; its next write to each faults once. Raises `OSError`."""
    root.write(f"/proc/{pid}/clear_refs", CLEAR_SOFT_DIRTY)
