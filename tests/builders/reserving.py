"""Real programs that reserve much more address space than they use."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PAGE = 4096
GIB = 1 << 30
# Reserves, writes to some pages, prints [start of the reservation, addresses of what it wrote to], waits for the end of
# its input. MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE is 0x4022, MADV_NOHUGEPAGE 15.
_PROGRAM = """
import ctypes, json, sys
reserved, committed, pages, stride = map(int, sys.argv[1:])
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
start = libc.mmap(None, reserved, 3 if committed else 0, 0x4022, -1, 0)
assert start not in (None, 2**64 - 1), ctypes.get_errno()
libc.madvise(start, reserved, 15)
wrote = [start + i * stride for i in range(pages)]
for address in wrote:
    if not committed:
        assert libc.mprotect(address, 4096, 3) == 0
    ctypes.memset(address, 1, 1)
print(json.dumps([start, wrote]), flush=True)
sys.stdin.readline()
"""


@dataclass(frozen=True, slots=True)
class Reserving:
    """`wrote` are the addresses of the pages that it has in the reservation [start, end)."""

    pid: int
    start: int
    end: int
    wrote: list[int]


@contextmanager
def reserving(reserved: int, pages: int, stride: int, committed: bool = True) -> Iterator[Reserving]:
    """A program that reserves so many bytes and has a page in each `stride` of them.

    committed  all of it may be written; else PROT_NONE, apart from the pages in use, as a runtime with guard pages
    """
    arguments = [str(int(each)) for each in (reserved, committed, pages, stride)]
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        start, wrote = json.loads(child.stdout.readline())
        yield Reserving(child.pid, start, start + reserved, wrote)
        child.communicate("\n")
