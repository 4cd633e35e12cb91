"""Files and shared memory that tracked programs map: each is a space of its own, whose addresses are offsets in it.

So a page that many programs map is one page, with one record of its heat and one origin in the journal. The kernel is
asked about it through the program that was last seen to touch it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pghot.arrays import I32, I64, U8, U16, U32, U64, Bool
from pghot.kernel.file_systems import Memory
from pghot.kernel.folios import shmem_folios_on
from pghot.kernel.maps import MappingKind, Mappings
from pghot.kernel.pagemap import anonymous_now
from pghot.kernel.statx import born_ns
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import FileIdentity, MappedFile, Space
from pghot.live.machine.census import Census, FileKey
from pghot.live.machine.kinds import Kinds
from pghot.live.machine.object_rows import Rows
from pghot.live.machine.sections import PAGE_SHIFT, SectionTable

# `SectionTable` knows spaces by pid: a file has one that no process can have (PID_MAX_LIMIT, include/linux/threads.h).
FIRST_PID = 1 << 22


@dataclass(slots=True)
class _Object:
    file: MappedFile
    memory: Memory
    private: bool  # of hugetlb memory: after a fork each program comes to have pages of its own
    mappings: dict[int, int] = field(default_factory=dict)  # how many each space has
    everyone: bool = False  # its pages move, whoever maps them
    forked: bool = False  # private, and several programs map it

    @property
    def key(self) -> FileKey:
        return self.file.identity.device, self.file.identity.inode


class Objects:
    """`next_number` gives a number that no space has."""

    def __init__(
        self, root: SysRoot, table: SectionTable, kinds: Kinds, next_number: Callable[[], int]
    ) -> None:
        self._root, self._table, self._kinds, self._next_number = root, table, kinds, next_number
        self._rows: dict[int, Rows] = {}
        self._all: Rows | None = Rows.none()  # those of all spaces; None: something has changed
        self._objects: dict[int, _Object] = {}
        self._number: dict[FileKey, int] = {}
        self._through: U16 = np.zeros(table.pages, np.uint16)  # the space in which each page was seen last
        self._census = Census(root)
        self._shmem_folios = shmem_folios_on(root)

    # ---- what is mapped

    def map(self, space: Space, mappings: Mappings, private: Bool, memory: U8, text: bytes) -> None:
        """These are the mappings of a space now.

        private  bool[M]   of a file, written pages being the process's own
        memory   uint8[M]  `Memory` of each
        text     of its maps
        """
        ours = mappings.kind == MappingKind.OBJECT
        number = np.zeros(len(mappings), np.int64)
        for made in self._objects.values():
            made.mappings.pop(space.number, None)
        rows = np.flatnonzero(ours)
        keys = np.stack((mappings.device[rows], mappings.inode[rows]))
        _, first, back, times = np.unique(
            keys, axis=1, return_index=True, return_inverse=True, return_counts=True
        )
        for i, (row, count) in enumerate(zip(rows[first].tolist(), times.tolist(), strict=True)):
            made = self._object(space, mappings, row, Memory(memory[row]), text)
            made.mappings[space.number] = count
            number[rows[back.ravel() == i]] = made.file.number
        held = np.flatnonzero(ours | (private & (mappings.kind == MappingKind.FILE)))
        begin, end = (part[held] >> np.uint64(PAGE_SHIFT) for part in (mappings.start, mappings.end))
        shift = (mappings.offset[held] >> np.uint64(PAGE_SHIFT)).astype(np.int64) - begin.astype(np.int64)
        whose = np.full(len(held), space.number, np.int64)
        self._rows[space.number] = Rows(whose, begin, end, number[held], shift, private[held])
        self._all = None

    def unmap(self, space: int) -> None:
        """A space is gone."""
        self._rows.pop(space, None)
        for made in self._objects.values():
            made.mappings.pop(space, None)
        self._all = None

    def _all_rows(self) -> Rows:
        if self._all is None:
            self._all = Rows.joined(self._rows)
        return self._all

    def _object(self, space: Space, mappings: Mappings, i: int, memory: Memory, text: bytes) -> _Object:
        key = int(mappings.device[i]), int(mappings.inode[i])
        if (number := self._number.get(key)) is None:
            number = self._number[key] = self._next_number()
            start, end = int(mappings.start[i]), int(mappings.end[i])
            who = FileIdentity(*key, born_ns(self._root, space.pid, start, end))
            permissions, name = _line(text, start)
            private = memory == Memory.HUGETLB and permissions.endswith("p")
            self._objects[number] = _Object(MappedFile(number, who, name), memory, private)
            self._table.assign(FIRST_PID + number, number)
        return self._objects[number]

    def take_unmapped(self) -> list[int]:
        """The numbers of files that nobody tracked maps any more; they are forgotten."""
        gone = [number for number, made in self._objects.items() if not made.mappings]
        for number in gone:
            del self._number[self._objects.pop(number).key]
            self._table.assign(FIRST_PID + number, 0)
        return gone

    def take_changed(self, tracked: frozenset[int]) -> list[int]:
        """Find out who else maps the files. Returns the numbers of those for which that changes what may move.

        Also whether shared memory may have large folios by now.
        """
        self._shmem_folios = shmem_folios_on(self._root)
        several = frozenset(made.key for made in self._objects.values() if sum(made.mappings.values()) > 1)
        if not self._kinds.named:
            self._census.tick(several, tracked)
        ours = (several & self._census.known) - self._census.others
        changed = []
        for number, made in self._objects.items():
            everyone = self._kinds.named or made.key in ours
            forked = made.private and len(made.mappings) > 1
            if (everyone, forked) != (made.everyone, made.forked):
                made.everyone, made.forked = everyone, forked
                changed.append(number)
        return changed

    # ---- asked by number

    def numbers(self) -> list[int]:
        return list(self._objects)

    def file(self, number: int) -> MappedFile | None:
        """The file with this number while it is mapped."""
        made = self._objects.get(number)
        return made.file if made else None

    def everyone(self, number: int) -> bool:
        """Whether pages move that several programs map: all of these are tracked, or the kind was asked for by name."""
        made = self._objects.get(number)
        return made is not None and made.everyone

    def kind(self, number: int) -> MappingKind:
        """What may be done with its pages, as far as is known: any page of it may come to be."""
        made = self._objects.get(number)
        if made is None:
            return MappingKind.UNMAPPED
        return MappingKind.SHARED if made.forked else MappingKind.MOVABLE

    def has_large_folios(self, number: int) -> bool:
        """Whether moving one page may move its neighbours along. Of files on disks nothing tells."""
        made = self._objects.get(number)
        return made is not None and (made.memory != Memory.SHMEM or self._shmem_folios)

    def pooled(self) -> list[int]:
        """The numbers of those whose pages are of a hugetlb pool."""
        return [number for number, made in self._objects.items() if made.memory == Memory.HUGETLB]

    def pooled_bytes(self) -> int:
        """Memory in mappings of these. What several programs map counts for each."""
        numbers, rows = self.pooled(), self._all_rows()
        held = np.isin(rows.number, numbers)
        return int((rows.last - rows.first)[held].sum()) << PAGE_SHIFT

    # ---- addresses

    def resolve(self, pid: I32, address: U64) -> tuple[I32, U64, I64, Bool]:
        """Where pages really are: pid int32[K] and address uint64[K], for pages of files the file's and the offset.

        Also the space int64[K] of each process, and bool[K], which pages are copies that a process wrote of a file's.
        """
        rows, space = self._all_rows(), self._table.spaces_of(pid)
        row = rows.find(space, address)
        copied = self._copied(pid, address, row, rows)
        at = np.flatnonzero((row >= 0) & ~copied)
        at = at[rows.number[row[at]] > 0]
        if len(at):
            pid, address = pid.copy(), address.copy()
            pid[at] = FIRST_PID + rows.number[row[at]]
            address[at] = rows.offsets(row[at], address[at])
        return pid, address, space, copied

    def _copied(self, pid: I32, address: U64, row: I64, rows: Rows) -> Bool:
        copied = np.zeros(len(pid), np.bool_)
        if "anon" not in self._kinds:
            return copied
        private = np.flatnonzero((row >= 0) & rows.private[row]) if len(rows) else row[:0]
        for each in np.unique(pid[private]).tolist():
            mine = private[pid[private] == each]
            copied[mine] = anonymous_now(self._root, each, address[mine])
        return copied

    def saw(self, page: U32, space: I64) -> None:
        """Pages of files were seen through these spaces."""
        self._through[page] = space

    def reach(self, page: U32, number: int, offset: U64) -> tuple[I64, U64]:
        """Through which space (int64[K], 0: none) and address (uint64[K] bytes) pages of a file can be reached.

        page  dense, offset  uint64[K]  bytes in the file
        """
        space, address = np.zeros(len(page), np.int64), np.zeros(len(page), np.uint64)
        last = self._through[page]
        for through in np.unique(last).tolist():
            self._reach_through(through, number, np.flatnonzero(last == through), offset, space, address)
        for through in self._objects[number].mappings if number in self._objects else ():
            if space.all():
                break
            self._reach_through(through, number, np.flatnonzero(space == 0), offset, space, address)
        return space, address

    def _reach_through(
        self, through: int, number: int, at: I64, offset: U64, space: I64, address: U64
    ) -> None:
        if len(at) == 0:
            return
        there, found = self._all_rows().addresses(through, number, offset[at])
        space[at[found]], address[at[found]] = through, there[found]


def _line(text: bytes, start: int) -> tuple[str, str]:
    """The permissions and the name in the line of maps that begins at `start`."""
    found = re.search(rb"^%x-\S+ (\S+) \S+ \S+ \d+ *(.*)$" % start, text, re.MULTILINE)
    return (found[1].decode(), found[2].decode("utf-8", "surrogateescape")) if found else ("", "")
