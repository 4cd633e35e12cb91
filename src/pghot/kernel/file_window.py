"""A part of a file in our own address space: there move_pages(2) can ask about its pages, whoever else maps them.

mmap(2), mincore(2), and MADV_POPULATE_READ (Linux 5.14), which fails where touching would kill (SIGBUS).
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from typing import Self

import numpy as np

from pghot.arrays import I64, U64
from pghot.units import PAGE_BYTES

_POPULATE_READ = 22
_libc = ctypes.CDLL(None, use_errno=True)


class FileWindow:
    """Pages [first, first + pages) of an open file, as far as it reaches.

    resident  int64[K]   those in memory now, counted from `first`
    address   uint64[K]  where each is mapped here
    begin     where the first page is mapped; 0 when the file does not reach it
    """

    def __init__(self, fd: int, first: int, pages: int) -> None:
        """Raises `OSError`."""
        self._map: mmap.mmap | None = None
        self.begin = 0
        self.resident: I64 = np.empty(0, np.int64)
        self.address: U64 = np.empty(0, np.uint64)
        length = min(pages * PAGE_BYTES, os.fstat(fd).st_size - first * PAGE_BYTES)
        if length <= 0:
            return
        self._map = mmap.mmap(fd, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=first * PAGE_BYTES)
        self.begin = np.frombuffer(self._map, np.uint8).ctypes.data
        self.resident = self._in_memory(self.begin, -(-length // PAGE_BYTES))
        self.address = np.uint64(self.begin) + self.resident.astype(np.uint64) * np.uint64(PAGE_BYTES)
        self._populate()

    def _in_memory(self, begin: int, pages: int) -> I64:
        found = np.zeros(pages, np.uint8)
        where = ctypes.c_void_p(found.ctypes.data)
        if _libc.mincore(ctypes.c_void_p(begin), ctypes.c_size_t(pages * PAGE_BYTES), where):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        return np.flatnonzero(found & 1)

    def _populate(self) -> None:
        """Give the resident pages entries in our page table. None is read or made."""
        assert self._map is not None
        breaks = np.flatnonzero(np.diff(self.resident) != 1) + 1
        for run in np.split(self.resident, breaks):
            if len(run):
                with contextlib.suppress(OSError):  # given up meanwhile
                    self._map.madvise(_POPULATE_READ, int(run[0]) * PAGE_BYTES, len(run) * PAGE_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._map is not None:
            self._map.close()
