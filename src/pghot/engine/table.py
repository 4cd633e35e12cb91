"""The hash table of the `hashed` store: open addressing with linear probing, keyed by page.

`table` is uint32[slots, 4], a row of 16 bytes so that four share a cache line:
KEY page + 1 (0 = empty) · RECORD · POSITION place in the heap plus one (0 = none) · HEAP which heap that is.
Entries are deleted by shifting their followers back, so there are no tombstones and a lookup stays short.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pghot.arrays import I16, I64, U32, Int
from pghot.engine.heap import POSITION, SLOT_MASK
from pghot.jit import njit

KEY, RECORD, HEAP = 0, 1, 3

# Knuth's multiplicative hashing: 2**32 divided by the golden ratio, made odd.
GOLDEN = 0x9E3779B1


class HashedArrays(NamedTuple):
    """What the kernels of the `hashed` store share.

    table    uint32[slots, 4]
    heaps    int64[H, entries]  a heap for each top-tier node, see `engine.heap`
    sizes    int64[H]           entries in use of each heap
    heap_of  int16[1024]        the heap for every value of a record's node field
    totals   int64[6]           counts, see `engine.hashed`
    """

    table: U32
    heaps: I64
    sizes: I64
    heap_of: I16
    totals: I64


@njit(cache=True)
def home(page: int, slots: int) -> int:
    """The slot where the search for a page begins: the product's high bits choose it, for any `slots`."""
    wide: Int = np.int64(page)
    slot: int = ((wide * GOLDEN & 0xFFFFFFFF) * slots) >> 32
    return slot


@njit(cache=True)
def find(table: U32, page: int) -> int:
    """The page's slot, or the empty slot where it would go. The table always has an empty slot."""
    slots = table.shape[0]
    slot = home(page, slots)
    key = page + 1
    while table[slot, KEY] != key and table[slot, KEY] != 0:
        slot += 1
        if slot == slots:
            slot = 0
    return slot


@njit(cache=True)
def delete(table: U32, heaps: I64, slot: int) -> None:
    """Empty a slot whose entry is in no heap, and shift back the entries that had to go past it.

    heaps  int64[top-tier nodes, heap entries]: entries of moved slots are renamed
    """
    slots = table.shape[0]
    gap = slot
    probe = slot
    while True:
        probe += 1
        if probe == slots:
            probe = 0
        if table[probe, KEY] == 0:
            break
        from_home = (probe - home(table[probe, KEY] - 1, slots)) % slots
        if from_home >= (probe - gap) % slots:
            for column in range(4):
                table[gap, column] = table[probe, column]
            position = table[gap, POSITION]
            if position:
                entry = heaps[table[gap, HEAP], position - 1]
                heaps[table[gap, HEAP], position - 1] = (entry & ~SLOT_MASK) | gap
            gap = probe
    for column in range(4):
        table[gap, column] = 0
