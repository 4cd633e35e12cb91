"""`/proc/PID/maps`: the mappings of a process, and which of them hold pages that may be moved.

Only private anonymous memory is moved. Everything else is left where it is, for a reason that is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from pghot.kernel.sysroot import SysRoot

_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) ([0-9a-f]+:[0-9a-f]+) (\d+)\s*(.*)")
_SPECIAL = ("[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]", "[uprobes]", "[sigpage]", "[vectors]")


class MappingKind(IntEnum):
    """What may be done with the pages of a mapping. The names are the reasons under which skips are counted."""

    UNMAPPED = 0
    MOVABLE = 1
    FILE = 2
    SHARED = 3
    SPECIAL = 4
    HUGETLB = 5
    BOUND = 6


@dataclass(frozen=True, slots=True)
class Mapping:
    """One line of maps: bytes [start, end), permissions as in "rw-p", the file or a name in brackets."""

    start: int
    end: int
    permissions: str
    inode: int
    name: str

    @property
    def kind(self) -> MappingKind:
        if self.name in _SPECIAL:
            return MappingKind.SPECIAL
        if self.name.startswith("/anon_hugepage"):
            return MappingKind.HUGETLB
        if self.permissions[3] == "s":
            return MappingKind.SHARED
        if self.inode or self.name.startswith("/"):
            return MappingKind.SPECIAL if self.name.startswith("/dev/") else MappingKind.FILE
        return MappingKind.MOVABLE


def parse_maps(text: str) -> Iterator[Mapping]:
    """The mappings, ascending; other lines are left out.

    The kernel escapes the newlines of file names, but no other character that `splitlines` splits at.
    """
    for line in text.split("\n"):
        if match := _LINE.fullmatch(line):
            start, end = int(match[1], 16), int(match[2], 16)
            if start < end < 1 << 63:  # above is the kernel's half: [vsyscall]
                yield Mapping(start, end, match[3], int(match[6]), match[7])


def read_maps(root: SysRoot, pid: int) -> list[Mapping]:
    """The process's mappings. Raises `OSError`: gone, or not this user's."""
    return list(parse_maps(root.read(f"/proc/{pid}/maps")))


def bound_starts(root: SysRoot, pid: int) -> frozenset[int]:
    """Start addresses of mappings under a strict policy (MPOL_BIND), from numa_maps.

    The kernel does not scan them for hint faults, and their owner has said where they belong. Reading numa_maps
    walks the page tables: do it rarely.
    """
    found = set()
    for line in root.read_or(f"/proc/{pid}/numa_maps").split("\n"):
        words = line.split()
        if len(words) > 1 and words[1].startswith("bind"):
            found.add(int(words[0], 16))
    return frozenset(found)


def movable_ranges(mappings: Iterable[Mapping]) -> list[tuple[int, int]]:
    """Address ranges of the movable mappings, adjacent ones joined."""
    found: list[tuple[int, int]] = []
    for mapping in mappings:
        if mapping.kind is not MappingKind.MOVABLE:
            continue
        if found and found[-1][1] == mapping.start:
            found[-1] = (found[-1][0], mapping.end)
        else:
            found.append((mapping.start, mapping.end))
    return found
