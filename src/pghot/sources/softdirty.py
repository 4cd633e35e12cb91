"""Soft-dirty bits as a live source: exactly which pages were written since the last look; reads are invisible.

Each look clears the bits through clear_refs, which write-protects the pages: the program pays one fault for the first
write to each page in every period.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

import numpy as np

from pghot.kernel.needs import Need, require
from pghot.kernel.pagemap import SOFT_DIRTY, clear_soft_dirty, flagged
from pghot.kernel.spaces import SetKnob, Space, Watched
from pghot.kernel.sysroot import SysRoot
from pghot.sources.live import Sightings, sightings_of
from pghot.units import PAGE_BYTES


class SoftDirty:
    """Options: period_ms  time between two looks at one program."""

    name = "softdirty"
    summary = "soft-dirty bits: exactly the pages written since the last look; root or the same user"
    weight = 1
    sees = "any"

    def __init__(self, root: SysRoot, period_ms: int = 1000) -> None:
        self._root = root
        self._period_ms = period_ms
        self._effort = 1.0
        self._spaces: dict[int, Space] = {}
        self._due_ms: dict[int, float] = {}
        self._counts = {"softdirty_scans": 0}

    def needs(self) -> list[Need]:
        return [_bits_need(self._root)]

    def start(self, watched: Watched, set_knob: SetKnob) -> None:
        require(self.name, self.needs())
        self.watch(watched)

    def watch(self, watched: Watched) -> None:
        self._spaces = {space.number: space for space in watched.spaces}
        self._due_ms = {number: due for number, due in self._due_ms.items() if number in self._spaces}

    def poll(self, now_ms: int) -> Sequence[Sightings]:
        found = []
        for number, space in self._spaces.items():
            if now_ms < self._due_ms.get(number, 0):
                continue
            first_look = number not in self._due_ms
            self._due_ms[number] = now_ms + self._period_ms / self._effort
            try:
                # What was dirty before the first clearing says nothing about now.
                address = np.empty(0, np.uint64) if first_look else self._written(space)
                clear_soft_dirty(self._root, space.pid)
            except OSError:
                continue  # it ended; the next `watch` says so
            self._counts["softdirty_scans"] += 1
            if len(address):
                found.append(sightings_of(space.pid, address, write=True))
        return found

    def _written(self, space: Space) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        parts = [
            flagged(self._root, space.pid, start, end, SOFT_DIRTY)
            for start, end in zip(space.start.tolist(), space.end.tolist(), strict=True)
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.uint64)

    def set_effort(self, share: float) -> None:
        self._effort = share

    def sampling(self) -> str:
        return f"all writes, one report a page every {self._period_ms / self._effort:.0f} ms"

    def counters(self) -> dict[str, int]:
        return dict(self._counts)

    def stop(self) -> None:
        self._spaces = {}


def _bits_need(root: SysRoot) -> Need:
    """Whether the kernel keeps soft-dirty bits. Without CONFIG_MEM_SOFT_DIRTY bit 55 is never set, or never cleared."""
    what = "soft-dirty bits"
    if not root.live:
        return Need(what, "unsupported", "a captured tree has no memory to try on")
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
    """Clear our own bits and write one page of two."""
    with mmap.mmap(-1, 2 * PAGE_BYTES) as memory:
        memory[0] = memory[PAGE_BYTES] = 1
        start = np.frombuffer(memory, np.uint8).ctypes.data
        clear_soft_dirty(root, os.getpid())
        memory[PAGE_BYTES] = 2
        written = flagged(root, os.getpid(), start, start + 2 * PAGE_BYTES, SOFT_DIRTY)
        return bool(written.tolist() == [start + PAGE_BYTES])
