"""What a program's address space costs pghot, beside the same without what should cost nothing.

A program has 64 MiB in memory, in 16 pieces. Looking where its pages are, and reading their entries in pagemap, is
compared with the same after it reserved 1 TiB more and moved in there: the pieces 64 GiB apart. The cost of a thousand
single pages there is reported, without a bar: each takes the records of a section, 0.2 MB.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from pghot.kernel.pagemap import PRESENT, flagged
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.placement import Placement
from pghot.live.machine.spaces import Spaces

ROOT = SysRoot()
TIB = 1 << 40
PIECES, PIECE_BYTES = 16, 4 << 20
SINGLE = 1000
RUNS = 7
BAR_TIMES = 2.0
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


def run() -> dict[str, Any]:
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
