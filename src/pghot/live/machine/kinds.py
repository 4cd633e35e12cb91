"""Kinds of memory, and which of them pghot moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from pghot.arrays import U8, Bool
from pghot.errors import UsageError, unknown_name
from pghot.kernel.file_systems import Memory
from pghot.kernel.maps import MappingKind, Mappings
from pghot.kernel.needs import Need
from pghot.kernel.process import has_capability, with_capabilities
from pghot.kernel.sysroot import SysRoot

# "anon": private memory of no file, and copies that a program wrote of a file's pages; "shmem": tmpfs, memfd, System V
# segments, shared anonymous memory; "file": pages of files that programs map; "hugetlb": 2 MiB pages of hugetlb pools.
KINDS = ("anon", "shmem", "file", "hugetlb")


@dataclass(frozen=True, slots=True)
class Kinds:
    """Which kinds are tracked and moved.

    named  they were asked for by name: then also pages that programs map which are not tracked
    """

    moved: frozenset[str] = frozenset(("anon", "shmem"))
    named: bool = False

    @classmethod
    def of(cls, names: tuple[str, ...] | list[str]) -> Self:
        """Raises `UsageError` for another name, and for none."""
        for name in names:
            if name not in KINDS:
                raise unknown_name("kind of memory", name, list(KINDS))
        if not names:
            raise UsageError("no kind of memory is named", f"give one or more of {', '.join(KINDS)}")
        return cls(frozenset(names), True)

    def __contains__(self, kind: str) -> bool:
        return kind in self.moved


BY_DEFAULT = Kinds()
ANON_ONLY = Kinds(frozenset(("anon",)))


def private_files(mappings: Mappings, memory: U8) -> Bool:
    """bool[M]: private mappings of files, as the text of maps has them. A written page of one is the process's own.

    memory  uint8[M]  `Memory` of each
    """
    private: Bool = mappings.kind == MappingKind.FILE
    # Files in /dev/shm have names as devices do.
    private |= (mappings.kind == MappingKind.SPECIAL) & (memory == Memory.SHMEM) & (mappings.inode != 0)
    private &= (memory != Memory.HUGETLB) & (memory != Memory.OTHER_HUGETLB)
    return private


def judged(mappings: Mappings, memory: U8, kinds: Kinds) -> U8:
    """uint8[M]: the kind of each mapping, for which the text of maps does not suffice. See `private_files`."""
    kind = mappings.kind.copy()
    of_file = private_files(mappings, memory) | (kind == MappingKind.SHARED)
    shmem = MappingKind.OBJECT if "shmem" in kinds else MappingKind.SHMEM
    file = MappingKind.OBJECT if "file" in kinds else MappingKind.FILE
    kind[of_file & (memory == Memory.SHMEM)] = shmem
    kind[of_file & (memory == Memory.FILE)] = file
    kind[of_file & (memory == Memory.DEVICE)] = MappingKind.SPECIAL
    pool = (memory == Memory.HUGETLB) | (memory == Memory.OTHER_HUGETLB)
    kind[pool & np.isin(mappings.kind, (MappingKind.SHARED, MappingKind.FILE))] = MappingKind.HUGETLB
    if "hugetlb" in kinds:
        # A private mapping of a file of a hugetlbfs has pages of its own beside the file's: it stays.
        ours = (kind == MappingKind.HUGETLB) & (mappings.kind != MappingKind.FILE)
        kind[ours & (memory == Memory.HUGETLB)] = MappingKind.OBJECT
    if "anon" not in kinds:
        kind[kind == MappingKind.MOVABLE] = MappingKind.ANON
    return kind


def shared_need(root: SysRoot) -> Need:
    """What it takes to move pages that several programs map, and to find them again for undo."""
    what = "shared memory and mapped files: MPOL_MF_MOVE_ALL, /proc/PID/map_files"
    rights = ("CAP_SYS_NICE", "CAP_SYS_ADMIN")
    lacking = [each for each in rights if not has_capability(root, each)]
    if not lacking:
        return Need(what)
    why = f"{' and '.join(lacking)} missing: only anonymous memory moves"
    return Need(what, "not permitted", why, f"sudo pghot ..., or {with_capabilities(*lacking)}")
