"""Slow, plain versions of the kernels of `pghot.live.machine.sections`."""

from __future__ import annotations

import numpy as np

from pghot.arrays import I32, I64, U16, U32, U64
from pghot.live.machine.sections import (
    _SPACE_SHIFT,
    ABSENT,
    FOREIGN,
    PAGE_SHIFT,
    SECTION_PAGES,
    SECTION_SHIFT,
)


def find_spaces_reference(space_of_pid: U16, pid: I32) -> I64:
    """`find_spaces` in NumPy: int64[K]."""
    inside = (pid >= 0) & (pid < len(space_of_pid))
    return np.where(inside, space_of_pid[np.where(inside, pid, 0)], np.uint16(0)).astype(np.int64)


def find_reference(space_of_pid: U16, keys: I64, slots: I32, pid: I32, address: U64, page: U32) -> None:
    """`find` with a dictionary."""
    table = {int(key): int(slot) for key, slot in zip(keys, slots, strict=True) if key >= 0}
    for i, (process, where) in enumerate(zip(pid.tolist(), address.tolist(), strict=True)):
        space = int(space_of_pid[process]) if 0 <= process < len(space_of_pid) else 0
        vpn = where >> PAGE_SHIFT
        slot = table.get(space << _SPACE_SHIFT | vpn >> SECTION_SHIFT)
        if space == 0 or vpn >> SECTION_SHIFT >= 1 << _SPACE_SHIFT:
            page[i] = FOREIGN
        elif slot is None:
            page[i] = ABSENT
        else:
            page[i] = slot << SECTION_SHIFT | vpn & (SECTION_PAGES - 1)


def name_reference(key_of_slot: I64, page: U32, space: I64, address: U64) -> None:
    """`name` in NumPy."""
    key = key_of_slot[page >> np.uint32(SECTION_SHIFT)]
    number = (key & ((1 << _SPACE_SHIFT) - 1)).astype(np.uint64)
    space[:] = key >> _SPACE_SHIFT
    vpn = number << np.uint64(SECTION_SHIFT) | (page % np.uint32(SECTION_PAGES))
    address[:] = vpn << np.uint64(PAGE_SHIFT)
