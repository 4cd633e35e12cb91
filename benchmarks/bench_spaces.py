"""What a program's address space costs pghot, beside the same without what should cost nothing.

A program has 64 MiB in memory, in 16 pieces. Looking where its pages are, and reading their entries in pagemap, is
compared with the same after it reserved 1 TiB more and moved in there: the pieces 64 GiB apart. The cost of a thousand
single pages there is reported, without a bar: each takes the records of a section, 0.2 MB.

Then it has 30,000 mappings in 16 sections that are in use. Following them, unchanged and with one that changed, is
compared with a bare read of /proc/PID/maps: the dearer one of two refreshes, as all mappings are read at every second
one. A refresh between two of these, after a sighting where something was mapped since, is reported beside it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from pghot.kernel.pagemap import PRESENT, flagged
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.placement import Placement
from pghot.live.machine.sections import SECTION_PAGES
from pghot.live.machine.spaces import Spaces

ROOT = SysRoot()
TIB = 1 << 40
PIECES, PIECE_BYTES = 16, 4 << 20
SINGLE = 1000
RUNS = 7
BAR_TIMES = 2.0
BAR_SIGHTED_TIMES = 0.5  # where the kernel has PROCMAP_QUERY
MAPPINGS = 30_000
SECTIONS = 16
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]


def memory(size: int, pieces: int, piece_bytes: int) -> int:
    """The start of a private mapping, nothing reserved for it, of which so many pieces, evenly spread, are used."""
    reserve = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000
    start = int(_libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, reserve, -1, 0))
    _libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.MADV_NOHUGEPAGE)
    for piece in range(pieces):
        ctypes.memset(start + piece * (size // pieces // 4096 * 4096), 1, piece_bytes)
    return start


def cpu_seconds(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def look() -> None:
    """A survey and a read of the entries, as pghot of this process."""
    spaces = Spaces(ROOT, 2 * SINGLE)
    spaces.refresh([os.getpid()])
    space = spaces.spaces[0]
    list(Placement(ROOT, spaces).survey(space))
    flagged(ROOT, space.pid, space.start, space.end, PRESENT)


def median_s() -> float:
    look()
    return median(cpu_seconds(look) for _ in range(RUNS))


def mapped_at(address: int) -> int:
    """The address of a page that is mapped there, and touched."""
    fixed = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100000  # MAP_FIXED_NOREPLACE
    start = int(_libc.mmap(address, 4096, mmap.PROT_READ | mmap.PROT_WRITE, fixed, -1, 0))
    ctypes.memset(start, 1, 1)
    return start


class Following:
    """30,000 mappings of this process: every other page of some memory may not be written to."""

    def __init__(self) -> None:
        self._stride = SECTIONS * SECTION_PAGES * 4096 // (MAPPINGS // 2) // 4096 * 4096
        self._start = memory(SECTIONS * SECTION_PAGES * 4096, SECTIONS, 4096)
        self._far = 1 << 44  # where nothing else is
        for i in range(MAPPINGS // 2):
            self._protect(i, mmap.PROT_READ)
        self._spaces = Spaces(ROOT, 2 * SECTIONS)
        self.refresh()
        address = self._start + np.arange(SECTIONS, dtype=np.uint64) * np.uint64(SECTION_PAGES * 4096)
        self._spaces.lookup(np.full(SECTIONS, os.getpid(), np.int32), address)

    def _protect(self, i: int, how: int) -> None:
        page = ctypes.c_void_p(self._start + i * self._stride + 4096)
        _libc.mprotect(page, ctypes.c_size_t(4096), how)

    def refresh(self) -> None:
        self._spaces.refresh([os.getpid()])

    def dearer_s(self, turn: int | None = None) -> float:
        """CPU time of the dearer one of two refreshes. With a `turn`, before each a mapping in the middle joins its
        neighbours, or parts from them."""
        took = []
        for i in range(2):
            if turn is not None:
                how = mmap.PROT_READ if (turn + i) % 2 else mmap.PROT_READ | mmap.PROT_WRITE
                self._protect(MAPPINGS // 4, how)
            took.append(cpu_seconds(self.refresh))
        return max(took)

    def sighted_s(self) -> float:
        """CPU time of the cheaper one of two refreshes, each after a sighting in a new mapping."""
        return min(self._sighted_s() for _ in range(2))

    def _sighted_s(self) -> float:
        self._far += 1 << 30
        new = mapped_at(self._far)
        self._spaces.lookup(np.array([os.getpid()], np.int32), np.array([new], np.uint64))
        return cpu_seconds(self.refresh)


def read_bare() -> bytes:
    """The yardstick: the text, as it comes."""
    with open(f"/proc/{os.getpid()}/maps", "rb", buffering=0) as file:
        return file.read()


def refreshes() -> dict[str, Any]:
    following = Following()
    following.dearer_s(0)
    bare, same, changed, sighted = [], [], [], []
    for turn in range(3 * RUNS):
        bare.append(cpu_seconds(read_bare))
        same.append(following.dearer_s())
        changed.append(following.dearer_s(turn))
        sighted.append(following.sighted_s())
    found = {}
    for name, took, bar in (
        ("live_refresh_30000_mappings", same, BAR_TIMES),
        ("live_refresh_of_changed_mappings", changed, BAR_TIMES),
        ("live_refresh_of_a_sighted_mapping", sighted, BAR_SIGHTED_TIMES),
    ):
        times = median(took) / median(bare)
        found[name] = {
            "value": times,
            "bar": bar,
            "ok": times <= bar,
            "unit": "times a bare read of /proc/PID/maps",
            "bare_ms": median(bare) * 1000,
        }
    return found


def run() -> dict[str, Any]:
    return {**reservations(), **refreshes()}


def reservations() -> dict[str, Any]:
    small = memory(PIECES * PIECE_BYTES, PIECES, PIECE_BYTES)
    bare = median_s()
    _libc.munmap(ctypes.c_void_p(small), ctypes.c_size_t(PIECES * PIECE_BYTES))
    memory(TIB, PIECES, PIECE_BYTES)
    ours = median_s()
    memory(TIB, SINGLE, 1)
    single = median_s() - ours
    return {
        "live_reservation": {
            "value": ours / bare,
            "bar": BAR_TIMES,
            "ok": ours <= BAR_TIMES * bare,
            "unit": "times the cost without 1 TiB reserved",
        },
        "live_scattered_page": {"value": single / SINGLE * 1e6, "bar": None, "ok": True, "unit": "us a page"},
    }
