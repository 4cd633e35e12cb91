"""`/proc/PID/mem`: the contents of another process's pages (fs/proc/base.c, `mem_rw`).

Reading needs the rights of ptrace: the same user and, where Yama restricts it, an ancestor; or CAP_SYS_PTRACE.
"""

from __future__ import annotations

import os
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from pghot.arrays import U64
from pghot.kernel.pagemap import PRESENT, SWAPPED, open_pagemap
from pghot.kernel.process import refused
from pghot.kernel.sysroot import SysRoot
from pghot.units import PAGE_BYTES


def read_pages(root: SysRoot, pid: int, address: U64) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Contents of those pages that hold memory: their places int64[K] in `address`, uint8[K, 4096].

    address  uint64[N]  bytes, each the start of a page

    A page that is not mapped any more, or was given back (MADV_DONTNEED) and would read as zeros, is left out; one
    that is swapped out comes back in. A process that has ended has no pages. Raises `NotPermittedError`.
    """
    places: list[int] = []
    contents: list[bytes] = []
    try:
        memory = root.open(f"/proc/{pid}/mem", os.O_RDONLY)
    except PermissionError:
        raise refused(pid, "read the memory of", "CAP_SYS_PTRACE") from None
    except OSError:
        return np.empty(0, np.int64), np.empty((0, PAGE_BYTES), np.uint8)
    try:
        for place in _resident(root, pid, address):
            with suppress(OSError):  # unmapped meanwhile
                data = os.pread(memory, PAGE_BYTES, int(address[place]))
                if len(data) == PAGE_BYTES:
                    places.append(place)
                    contents.append(data)
    finally:
        os.close(memory)
    return np.array(places, np.int64), np.frombuffer(b"".join(contents), np.uint8).reshape(-1, PAGE_BYTES)


def _resident(root: SysRoot, pid: int, address: U64) -> list[int]:
    """Places of the addresses that have a page in memory or in swap."""
    try:
        pagemap = open_pagemap(root, pid)
    except PermissionError:
        raise refused(pid, "read the memory of", "CAP_SYS_PTRACE") from None
    except OSError:
        return []
    try:
        found = []
        for place, start in enumerate(address.tolist()):
            entry = os.pread(pagemap, 8, start // PAGE_BYTES * 8)
            if int.from_bytes(entry, "little") & (PRESENT | SWAPPED):
                found.append(place)
        return found
    finally:
        os.close(pagemap)
