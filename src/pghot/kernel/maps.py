"""`/proc/PID/maps`: the mappings of a process, what kind of memory they show, and of which file.

What is not moved is left where it is for a reason that is counted. A program may have 100,000 mappings, so they are
arrays, and are read in one pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from pghot.arrays import U8, U64, Bool
from pghot.kernel.ranges import bridged
from pghot.kernel.sysroot import SysRoot


class MappingKind(IntEnum):
    """What may be done with the pages of a mapping. The names are the reasons under which skips are counted.

    The text alone says MOVABLE (private and of no file), FILE (a private mapping of a file), SHARED, SPECIAL and
    HUGETLB. Of a page SHARED means that programs map it which are not tracked. OBJECT: its pages are those of a file or
    of shared memory, which is tracked by itself. POLICY_UNKNOWN: its owner may have bound it.
    """

    UNMAPPED = 0
    MOVABLE = 1
    FILE = 2
    SHARED = 3
    SPECIAL = 4
    HUGETLB = 5
    BOUND = 6
    ANON = 7
    SHMEM = 8
    OBJECT = 9
    POLICY_UNKNOWN = 10


# System V segments and other shared memory lie in one file system and number their inodes independently (newseg in
# ipc/shm.c, shmem_get_inode in mm/shmem.c). So a segment has this bit beside its inode.
SYSTEM_V = 1 << 63


def device_number(major: int, minor: int) -> int:
    """A device in one number, as `Mappings.device` has it.

    >>> hex(device_number(0x8, 0x12))
    '0x800012'
    """
    return major << 20 | minor


@dataclass(frozen=True, slots=True, eq=False)
class Mappings:
    """The mappings of a process, ascending.

    start, end  uint64[M]  bytes [start, end)
    kind        uint8[M]   `MappingKind`
    device      uint64[M]  `device_number` of the file system that the mapped file lies in
    inode       uint64[M]  of that file; with `SYSTEM_V`. 0 without a file
    offset      uint64[M]  bytes: which part of the file is mapped at `start`
    """

    start: U64
    end: U64
    kind: U8
    device: U64
    inode: U64
    offset: U64

    def __len__(self) -> int:
        return len(self.start)

    def movable(self) -> tuple[U64, U64]:
        """Start and end (uint64[R] bytes) of what may be moved, adjacent mappings joined."""
        held = (self.kind == MappingKind.MOVABLE) | (self.kind == MappingKind.OBJECT)
        return bridged(self.start[held], self.end[held], 0)

    def bound(self, starts: U64) -> Mappings:
        """The same, those that start at one of `starts` being under a strict policy of their owner."""
        return replace(
            self, kind=np.where(np.isin(self.start, starts), np.uint8(MappingKind.BOUND), self.kind)
        )

    def with_policy_unknown(self) -> Mappings:
        """The same, while it is not known under which policies its owner has put them."""
        moves = np.isin(self.kind, (MappingKind.MOVABLE, MappingKind.OBJECT))
        return replace(self, kind=np.where(moves, np.uint8(MappingKind.POLICY_UNKNOWN), self.kind))

    def with_added(self, other: Mappings) -> Mappings | None:
        """The same with those of `other`, each in place of what lies in it; None where one overlaps a part of another.

        other  ascending, disjoint
        """
        first = np.searchsorted(self.end, other.start, side="right")
        last = np.searchsorted(self.start, other.end, side="left")
        keep = np.ones(len(self), np.bool_)
        for i in np.flatnonzero(first < last).tolist():
            within = slice(first[i], last[i])
            if self.start[within][0] < other.start[i] or self.end[within][-1] > other.end[i]:
                return None
            keep[within] = False
        order = np.argsort(np.append(self.start[keep], other.start), kind="stable")  # most are in order

        def both(mine: U64, theirs: U64) -> U64:
            return np.append(mine[keep], theirs)[order]

        return Mappings(
            both(self.start, other.start),
            both(self.end, other.end),
            np.append(self.kind[keep], other.kind)[order],
            both(self.device, other.device),
            both(self.inode, other.inode),
            both(self.offset, other.offset),
        )

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

    def _columns(self) -> tuple[U64 | U8, ...]:
        return (self.start, self.end, self.kind, self.device, self.inode, self.offset)

    def _first(self, count: int) -> list[U64 | U8]:
        return [column[:count] for column in self._columns()]

    def _last(self, count: int) -> list[U64 | U8]:
        """Backwards from the last."""
        begin = len(self) - count
        return [column[begin:][::-1] for column in self._columns()]


def _equal(one: list[U64 | U8], other: list[U64 | U8]) -> int:
    """How many of the first mappings are the same."""
    differs: Bool = np.zeros(len(one[0]), np.bool_)
    for mine, theirs in zip(one, other, strict=True):
        differs |= mine != theirs
    return int(differs.argmax()) if differs.any() else len(differs)


def maps_path(pid: int) -> str:
    """Where the kernel has it."""
    return f"/proc/{pid}/maps"


def read_maps_text(root: SysRoot, pid: int) -> bytes:
    """The file. Raises `OSError`: gone, or not this user's."""
    return root.read_bytes(maps_path(pid))
