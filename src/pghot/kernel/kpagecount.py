"""`/proc/kpagecount`: how many page tables map each page frame, eight bytes for each.

Documentation/admin-guide/mm/pagemap.rst. A kernel that does not count single pages of large folios (6.15 with
CONFIG_NO_PAGE_MAPCOUNT) tells the mean over the folio.
"""

from __future__ import annotations

import os

import numpy as np

from pghot.arrays import U64
from pghot.kernel.sysroot import SysRoot

KPAGECOUNT = "/proc/kpagecount"


def map_counts(root: SysRoot, frame: U64) -> U64:
    """uint64[K]: how often each frame (uint64[K]) is mapped. Raises `OSError`."""
    fd = root.open(KPAGECOUNT, os.O_RDONLY)
    try:
        data = b"".join(os.pread(fd, 8, 8 * each).ljust(8, b"\0") for each in frame.tolist())
    finally:
        os.close(fd)
    return np.frombuffer(data, np.uint64)
