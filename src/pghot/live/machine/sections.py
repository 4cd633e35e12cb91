"""Sections: dense page numbers for the addresses of tracked programs.

A section is 32768 pages, as the kernel's 128 MiB mem_section of 4 KiB pages. An address range gets the pages of
a section when something in it is first seen, and gives them back when it is unmapped. Everything that is known
of a page then is one element of an array (docs/architecture.md). The table is sized at the start and never grows; pages
that find no section are counted.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import I32, I64, U16, U32, U64, Int
from pghot.jit import njit

PAGE_SHIFT = 12
SECTION_SHIFT = 15
SECTION_PAGES = 1 << SECTION_SHIFT

# Pages are below 2**32 - 1; these stand for "no page".
FOREIGN = np.uint32(0xFFFFFFFF)  # the process is not tracked, or the address is the kernel's
ABSENT = np.uint32(0xFFFFFFFE)  # tracked, but the address has no section yet

_EMPTY = -1
_TOMBSTONE = -2
# A hash key is space << 36 | section number of the address: 57-bit addresses have 30-bit section numbers.
_SPACE_SHIFT = 36


class SectionTable:
    """Which section holds which addresses.

    pages  size of the dense index space, `sections` * 32768
    """

    def __init__(self, sections: int, pid_max: int) -> None:
        self.sections = sections
        self.pages = sections << SECTION_SHIFT
        capacity = 1 << max(4, (2 * sections - 1).bit_length())
        self._keys = np.full(capacity, _EMPTY, np.int64)
        self._slots = np.zeros(capacity, np.int32)
        self._free = list(range(sections - 1, -1, -1))
        self._key_of_slot = np.full(sections, _EMPTY, np.int64)
        self._space_of_pid = np.zeros(pid_max + 1, np.uint16)
        self._tombstones = 0
        self._in_order: I64 | None = None  # see `in_use`, while nothing has changed

    def __len__(self) -> int:
        """Sections in use."""
        return self.sections - len(self._free)

    def assign(self, pid: int, space: int) -> None:
        """Addresses of this process belong to `space` (1..65535) from now on; 0: to none."""
        if pid >= len(self._space_of_pid):  # kernel.pid_max was raised since
            self._space_of_pid = np.pad(self._space_of_pid, (0, pid + 1 - len(self._space_of_pid)))
        self._space_of_pid[pid] = space

    def spaces_of(self, pid: I32) -> I64:
        """int64[K]: the space of each process, 0: none."""
        space = np.empty(len(pid), np.int64)
        find_spaces(self._space_of_pid, pid, space)
        return space

    def lookup(self, pid: I32, address: U64) -> U32:
        """uint32[K]: the dense page of each address, `FOREIGN` or `ABSENT`.

        pid  int32[K], address  uint64[K] in bytes
        """
        page = np.empty(len(pid), np.uint32)
        find(self._space_of_pid, self._keys, self._slots, pid, address, page)
        return page

    def absent(self, pid: I32, address: U64) -> list[tuple[int, int]]:
        """The (space, section number) pairs behind `ABSENT` addresses, each once."""
        space = self._space_of_pid[pid].astype(np.int64)
        keys = np.unique(
            space << _SPACE_SHIFT | (address >> np.uint64(PAGE_SHIFT + SECTION_SHIFT)).astype(np.int64)
        )
        return [(int(key) >> _SPACE_SHIFT, int(key) & ((1 << _SPACE_SHIFT) - 1)) for key in keys]

    def add(self, space: int, number: int) -> int | None:
        """The slot of a new section, None when the table is full.

        number  address >> 27
        """
        if not self._free:
            return None
        slot = self._free.pop()
        key = space << _SPACE_SHIFT | number
        at = probe_free(self._keys, key)
        self._tombstones -= self._keys[at] == _TOMBSTONE
        self._keys[at], self._slots[at], self._key_of_slot[slot] = key, slot, key
        self._in_order = None
        return slot

    def remove(self, slot: int) -> None:
        """Give a section's pages back."""
        at = probe_key(self._keys, self._key_of_slot[slot])
        self._keys[at] = _TOMBSTONE
        self._key_of_slot[slot] = _EMPTY
        self._free.append(slot)
        self._in_order = None
        self._tombstones += 1
        if self._tombstones > len(self._keys) // 4:
            self._rehash()

    def in_use(self) -> I64:
        """int64[S]: the slots in use; those of one space side by side, ascending by address."""
        if self._in_order is None:
            held = np.flatnonzero(self._key_of_slot != _EMPTY)
            self._in_order = held[np.argsort(self._key_of_slot[held])]
        return self._in_order

    def keys(self, slot: I64) -> I64:
        """int64[S]: a number for the address range of each slot; that of the next range of its space is one more."""
        keys: I64 = self._key_of_slot[slot]
        return keys

    def slots(self, space: int) -> list[tuple[int, int]]:
        """The (slot, section number) pairs of a space, ascending by address."""
        slot = self.in_use()
        keys = self.keys(slot)
        first, last = np.searchsorted(keys, [space << _SPACE_SHIFT, (space + 1) << _SPACE_SHIFT])
        numbers = keys[first:last] & ((1 << _SPACE_SHIFT) - 1)
        return list(zip(slot[first:last].tolist(), numbers.tolist(), strict=True))

    def where(self, page: U32) -> tuple[I64, U64]:
        """Space int64[K] and address uint64[K] (bytes) of dense pages of sections in use."""
        space, address = np.empty(len(page), np.int64), np.empty(len(page), np.uint64)
        name(self._key_of_slot, page, space, address)
        return space, address

    def bytes_total(self) -> int:
        """Bytes of the table itself (reserved; untouched pages of the pid map cost nothing)."""
        arrays = (self._keys, self._slots, self._key_of_slot, self._space_of_pid)
        return sum(array.nbytes for array in arrays)

    def _rehash(self) -> None:
        self._keys[:] = _EMPTY
        for slot in np.flatnonzero(self._key_of_slot != _EMPTY).tolist():
            at = probe_free(self._keys, int(self._key_of_slot[slot]))
            self._keys[at], self._slots[at] = self._key_of_slot[slot], slot
        self._tombstones = 0


@njit(cache=True)
def find_spaces(space_of_pid: U16, pid: I32, space: I64) -> None:
    """Fill in the space of each process, 0: none."""
    for i in range(pid.shape[0]):
        p: Int = np.int64(pid[i])
        space[i] = space_of_pid[p] if 0 <= p < space_of_pid.shape[0] else 0


@njit(cache=True)
def find(space_of_pid: U16, keys: I64, slots: I32, pid: I32, address: U64, page: U32) -> None:
    """Fill `page` with the dense page of each (pid, address), `FOREIGN` or `ABSENT`.

    Neighbours in a batch are often of one section, so the last answer is tried first.
    """
    mask: Int = keys.shape[0] - 1
    last_key: Int = np.int64(-1)
    last_slot: Int = np.int64(-1)
    for i in range(pid.shape[0]):
        p: Int = np.int64(pid[i])
        space: Int = np.int64(space_of_pid[p]) if 0 <= p < space_of_pid.shape[0] else np.int64(0)
        vpn: Int = np.int64(address[i] >> np.uint64(PAGE_SHIFT))
        if space == 0 or vpn >> SECTION_SHIFT >= 1 << _SPACE_SHIFT:
            page[i] = FOREIGN
            continue
        key: Int = space << _SPACE_SHIFT | vpn >> SECTION_SHIFT
        if key != last_key:
            at: Int = hashed(key) & mask
            while keys[at] != key and keys[at] != _EMPTY:
                at = (at + 1) & mask
            last_slot = np.int64(slots[at]) if keys[at] == key else np.int64(-1)
            last_key = key
        if last_slot < 0:
            page[i] = ABSENT
        else:
            page[i] = np.uint32(last_slot << SECTION_SHIFT | vpn & (SECTION_PAGES - 1))


@njit(cache=True)
def name(key_of_slot: I64, page: U32, space: I64, address: U64) -> None:
    """Fill in the space and the address of each dense page: the reverse of `find`."""
    for i in range(page.shape[0]):
        key: Int = key_of_slot[page[i] >> np.uint32(SECTION_SHIFT)]
        number: Int = key & np.int64((1 << _SPACE_SHIFT) - 1)
        vpn: Int = number << np.int64(SECTION_SHIFT) | np.int64(page[i] & np.uint32(SECTION_PAGES - 1))
        space[i] = key >> np.int64(_SPACE_SHIFT)
        address[i] = np.uint64(vpn << np.int64(PAGE_SHIFT))


@njit(cache=True)
def hashed(key: Int) -> Int:
    """A 31-bit hash of a key: the upper bits of a product with the golden ratio."""
    return np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33))


@njit(cache=True)
def probe_free(keys: I64, key: Int) -> Int:
    """Where a key that is not in the table goes."""
    mask: Int = keys.shape[0] - 1
    at: Int = hashed(key) & mask
    while keys[at] >= 0:
        at = (at + 1) & mask
    return at


@njit(cache=True)
def probe_key(keys: I64, key: Int) -> Int:
    """Where a key that is in the table stands."""
    mask: Int = keys.shape[0] - 1
    at: Int = hashed(key) & mask
    while keys[at] != key:
        at = (at + 1) & mask
    return at
