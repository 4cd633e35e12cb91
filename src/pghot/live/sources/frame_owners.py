"""Which page frame belongs to which tracked program, for sources that see only physical addresses (`spe`, `chmu`)."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pghot.arrays import U64
from pghot.kernel.rmap import ReverseMap
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import Space, Watched

REFRESH_MS = 2000
# Reading the page maps of a large program takes long. It may take at most this share of the time; the price is an older
# map.
_MOST_TIME = 0.05


class FrameOwners:
    """A reverse map from frames to programs. A lookup reads it anew when it is older than 2 s and older than 20 times
    what reading it took.

    Reading takes about 70 ns for each present page, and the map takes 20 bytes for each (measured; docs/sources.md).
    """

    def __init__(self, root: SysRoot) -> None:
        self._root = root
        self._map = ReverseMap()
        self._spaces: tuple[Space, ...] = ()
        self._ranges: Sequence[tuple[int, int]] | None = None
        self._due_ms = 0.0

    def watch(self, watched: Watched) -> None:
        self._spaces = watched.spaces

    def keep_only(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Only frames in these ranges [first, end) will be looked up."""
        self._ranges = ranges

    def find(self, frame: U64, now_ms: int) -> tuple[npt.NDArray[np.int32], U64, npt.NDArray[np.int64]]:
        """As `ReverseMap.find`; `now_ms` is CLOCK_MONOTONIC in milliseconds."""
        if now_ms >= self._due_ms:
            began = time.monotonic()
            self._map.build(self._root, self._spaces, self._ranges)
            took_ms = (time.monotonic() - began) * 1000
            self._due_ms = now_ms + max(REFRESH_MS, took_ms / _MOST_TIME)
        return self._map.find(frame)
