"""Soft-dirty bits as a live source: exactly which pages were written since the last look. Reads are invisible.

Each look clears the bits through clear_refs, which write-protects the pages. So the program pays one fault for the
first write to each page in every period. A look reads the bits and then clears them; a write in between is missed.

If a mapping is new or has grown since the last look, all its pages are marked (VM_SOFTDIRTY, mm/mmap.c). Those marks
mean nothing, so the pages are counted but not reported. A huge page has one bit.
"""

from __future__ import annotations

import mmap
import os

import numpy as np

from pghot.arrays import U64
from pghot.engine.accesses import Mechanism, Sees
from pghot.kernel.maps import Mappings
from pghot.kernel.maps_text import read_maps
from pghot.kernel.needs import Need
from pghot.kernel.pagemap import SOFT_DIRTY, clear_soft_dirty, flagged
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import Space
from pghot.live.sources.periodic import PeriodicSource
from pghot.units import PAGE_BYTES


class SoftDirty(PeriodicSource):
    """Options: period_ms  time between two looks at one program."""

    name = "softdirty"
    summary = "soft-dirty bits: exactly the pages written since the last look; root or the same user"
    mechanism: Mechanism = "page-table scan"
    inline = False
    released = True
    weight = 1
    sees: Sees = "writes"
    only_reads = False
    SCANS = "softdirty_scans"

    def __init__(self, root: SysRoot, period_ms: int = 1000) -> None:
        super().__init__(root, period_ms, ("softdirty_unknown_pages",))
        self._mappings: dict[int, Mappings] = {}

    def needs(self) -> list[Need]:
        return [_bits_need(self._root)]

    def look(self, space: Space) -> U64:
        """Read and clear. The first look reports nothing: its marks may be of any age."""
        before = self._mappings.get(space.number)
        address = np.empty(0, np.uint64)
        if before is not None:
            address = flagged(self._root, space.pid, space.start, space.end, SOFT_DIRTY)
        # Read after the bits: a mapping that grows in between must not look unchanged.
        now = read_maps(self._root, space.pid)
        clear_soft_dirty(self._root, space.pid)
        self._mappings[space.number] = now
        known = address[:0] if before is None else within(address, *unchanged(before, now))
        self._counts["softdirty_unknown_pages"] += len(address) - len(known)
        return known

    def forget(self, number: int) -> None:
        self._mappings.pop(number, None)

    def sampling(self) -> str:
        return f"all writes, one report a page every {self.period_ms:.0f} ms; pages only read stay unseen"


def unchanged(before: Mappings, now: Mappings) -> tuple[U64, U64]:
    """Start and end (uint64[K] bytes) of the mappings that are in both, ascending."""
    if len(before) == 0:
        return before.start, before.end
    at = np.minimum(np.searchsorted(before.start, now.start), len(before) - 1)
    same = (before.start[at] == now.start) & (before.end[at] == now.end)
    return now.start[same], now.end[same]


def within(address: U64, start: U64, end: U64) -> U64:
    """The addresses (uint64[K]) that lie in one of these disjoint ranges [start, end), ascending."""
    if len(start) == 0:
        return address[:0]
    place = np.searchsorted(start, address, side="right") - 1
    inside: U64 = address[(place >= 0) & (address < end[place])]
    return inside


def _bits_need(root: SysRoot) -> Need:
    """Whether the kernel keeps soft-dirty bits. Without CONFIG_MEM_SOFT_DIRTY, bit 55 is never set or never cleared."""
    what = "soft-dirty bits"
    if not root.live:
        return Need(what, "unsupported", "a captured tree has no memory to try them on")
    try:
        works = _try_on_ourselves(root)
    except OSError as error:
        return Need(
            what, "not permitted", f"clear_refs of pghot itself: {error.strerror}", "mount /proc writable"
        )
    if works:
        return Need(what)
    return Need(
        what, "unsupported", "the kernel keeps no soft-dirty bits", "a kernel with CONFIG_MEM_SOFT_DIRTY=y"
    )


def _try_on_ourselves(root: SysRoot) -> bool:
    """Clear our own bits, write to one page of two, and see which is marked.

    The memory is shared, so that no private mapping that grows can merge with it.
    """
    with mmap.mmap(-1, 2 * PAGE_BYTES) as memory:
        memory[0] = memory[PAGE_BYTES] = 1
        start = np.frombuffer(memory, np.uint8).ctypes.data
        clear_soft_dirty(root, os.getpid())
        memory[PAGE_BYTES] = 2
        written = flagged(root, os.getpid(), start, start + 2 * PAGE_BYTES, SOFT_DIRTY)
        return bool(written.tolist() == [start + PAGE_BYTES])
