"""The part of undo that brings pages back from compressed swap: into memory first, to their nodes after."""

from __future__ import annotations

import errno

import numpy as np

from pghot.arrays import U64, Bool
from pghot.kernel.meminfo import meminfo_pages
from pghot.kernel.pagemap import swapped
from pghot.kernel.process import Identity, alive, refused
from pghot.kernel.process_madvise import bring_back
from pghot.kernel.sysroot import SysRoot

BATCH_PAGES = 512
MEMORY_FLOOR = 0.02  # share of all memory that stays available: nothing is brought back from swap below it


def fetch(root: SysRoot, identity: Identity, address: U64) -> tuple[Bool, Bool]:
    """Bring swapped pages (of uint64[K] bytes, ascending) back, as far as there is memory.

    Returns bool[K] twice: which were in swap before, and which are still. Raises `NotPermittedError`.
    """
    before = np.zeros(len(address), np.bool_)
    if not alive(root, identity):
        return before, before
    try:
        before = swapped(root, identity.pid, address)
        out = address[before]
        for begin in range(0, len(out), BATCH_PAGES):
            if _memory_is_short(root) or not alive(root, identity):
                break
            bring_back(identity.pid, out[begin : begin + BATCH_PAGES])
        return before, swapped(root, identity.pid, address)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.ENOENT):
            return before, np.zeros(len(address), np.bool_)  # it ended
        raise refused(identity.pid, "bring back pages of", "CAP_SYS_NICE", "CAP_SYS_PTRACE") from error


def _memory_is_short(root: SysRoot) -> bool:
    return meminfo_pages(root, "MemAvailable") < MEMORY_FLOOR * meminfo_pages(root, "MemTotal")
