"""`/proc/PID/maps`: the mappings of a process, and which of them hold pages that may be moved.

Only private anonymous memory is moved. Everything else is left where it is, for a reason that is counted.
A program may have 100,000 mappings, so they are arrays, and are read in one pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from pghot.arrays import U8, U64, Bool
from pghot.kernel.ranges import bridged
from pghot.kernel.sysroot import SysRoot


class MappingKind(IntEnum):
    """What may be done with the pages of a mapping. The names are the reasons under which skips are counted."""

    UNMAPPED = 0
    MOVABLE = 1
    FILE = 2
    SHARED = 3
    SPECIAL = 4
    HUGETLB = 5
    BOUND = 6


@dataclass(frozen=True, slots=True, eq=False)
class Mappings:
    """The mappings of a process, ascending.

    start, end  uint64[M]  bytes [start, end)
    kind        uint8[M]   `MappingKind`
    """

    start: U64
    end: U64
    kind: U8

    def __len__(self) -> int:
        return len(self.start)

    def movable(self) -> tuple[U64, U64]:
        """Start and end (uint64[R] bytes) of the movable memory, adjacent mappings joined."""
        held = self.kind == MappingKind.MOVABLE
        return bridged(self.start[held], self.end[held], 0)

    def bound(self, starts: U64) -> Mappings:
        """The same, those that start at one of `starts` being under a strict policy of their owner."""
        kind = np.where(np.isin(self.start, starts), np.uint8(MappingKind.BOUND), self.kind)
        return Mappings(self.start, self.end, kind)

    def changed_between(self, other: Mappings) -> tuple[int, int] | None:
        """Bytes [first, last) outside of which both are the same; None when they are the same everywhere."""
        shorter = min(len(self), len(other))
        head = _equal(self._first(shorter), other._first(shorter))
        if head == shorter and len(self) == len(other):
            return None
        tail = _equal(self._last(shorter - head), other._last(shorter - head))
        differing = [each for each in (self, other) if len(each) > head + tail]
        first = min(int(each.start[head]) for each in differing)
        return first, max(int(each.end[len(each) - tail - 1]) for each in differing)

    def _first(self, count: int) -> tuple[U64, U64, U8]:
        return self.start[:count], self.end[:count], self.kind[:count]

    def _last(self, count: int) -> tuple[U64, U64, U8]:
        """Backwards from the last."""
        begin = len(self) - count
        return self.start[begin:][::-1], self.end[begin:][::-1], self.kind[begin:][::-1]


def _equal(one: tuple[U64, U64, U8], other: tuple[U64, U64, U8]) -> int:
    """How many of the first mappings are the same."""
    differs: Bool = (one[0] != other[0]) | (one[1] != other[1]) | (one[2] != other[2])
    return int(differs.argmax()) if differs.any() else len(differs)


def read_maps_text(root: SysRoot, pid: int) -> bytes:
    """The file. Raises `OSError`: gone, or not this user's."""
    return root.read_bytes(f"/proc/{pid}/maps")
