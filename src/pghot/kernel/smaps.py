"""`/proc/PID/smaps`: which mappings of a process are in memory at all."""

from __future__ import annotations

import re

import numpy as np

from pghot.arrays import U64
from pghot.kernel.sysroot import SysRoot

_HEAD_OR_HELD = re.compile(
    r"^(?:([0-9a-f]{1,16})-([0-9a-f]{1,16}) |(?:Rss|Swap):\s+([1-9]\d*) kB)", re.MULTILINE
)


def mappings_in_use(root: SysRoot, pid: int) -> tuple[U64, U64]:
    """Start and end (uint64[K] bytes, ascending) of the mappings with a page in memory or in swap.

    The kernel walks the page tables of the whole process (11 ms for each GiB that is resident).
    Raises `OSError`: gone, or not this user's.
    """
    found: list[tuple[int, int]] = []
    head = (0, 0)
    for match in _HEAD_OR_HELD.finditer(root.read(f"/proc/{pid}/smaps")):
        if match[3] is None:
            head = (int(match[1], 16), int(match[2], 16))
        elif not found or found[-1] != head:
            found.append(head)
    start, end = (np.array([pair[i] for pair in found if pair[1] < 1 << 63], np.uint64) for i in (0, 1))
    return start, end
