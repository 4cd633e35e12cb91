"""Max-heaps of hash table slots, keyed by frequency: one heap for each top-tier node (FACTS section 1).

A heap is an int64 array of entries `frequency << 32 | slot`; equal frequencies are in no order. The row of a
slot in the table (`uint32[slots, 4]`, see `engine.table`) knows where the slot is: column POSITION is its
place in the heap plus one, 0 when it is in none. Every function here keeps both sides in step.
"""

from __future__ import annotations

from pghot.arrays import I64, U32
from pghot.jit import njit

POSITION = 2
SLOT_MASK = 0xFFFFFFFF


@njit(cache=True)
def sift_up(heap: I64, position: int, table: U32) -> None:
    """Let the entry at `position` rise until its parent is as hot or hotter."""
    entry = heap[position]
    while position > 0:
        parent = (position - 1) >> 1
        if heap[parent] >> 32 >= entry >> 32:
            break
        heap[position] = heap[parent]
        table[heap[position] & SLOT_MASK, POSITION] = position + 1
        position = parent
    heap[position] = entry
    table[entry & SLOT_MASK, POSITION] = position + 1


@njit(cache=True)
def sift_down(heap: I64, size: int, position: int, table: U32) -> None:
    """Let the entry at `position` sink until no child is hotter."""
    entry = heap[position]
    while 2 * position + 1 < size:
        child = 2 * position + 1
        if child + 1 < size and heap[child + 1] >> 32 > heap[child] >> 32:
            child += 1
        if heap[child] >> 32 <= entry >> 32:
            break
        heap[position] = heap[child]
        table[heap[position] & SLOT_MASK, POSITION] = position + 1
        position = child
    heap[position] = entry
    table[entry & SLOT_MASK, POSITION] = position + 1


@njit(cache=True)
def push(heap: I64, size: int, slot: int, frequency: int, table: U32) -> int:
    """Add a slot and return the new size. The caller has made sure that `size < len(heap)`."""
    heap[size] = frequency << 32 | slot
    sift_up(heap, size, table)
    return size + 1


@njit(cache=True)
def change(heap: I64, size: int, position: int, frequency: int, table: U32) -> None:
    """Give the entry at `position` another frequency."""
    heap[position] = frequency << 32 | (heap[position] & SLOT_MASK)
    sift_up(heap, position, table)
    # If it did not rise, `position` still holds it. If it did, the parent that came down stays where it is.
    sift_down(heap, size, position, table)


@njit(cache=True)
def remove(heap: I64, size: int, position: int, table: U32) -> int:
    """Take the entry at `position` out (0 is the hottest) and return the new size."""
    table[heap[position] & SLOT_MASK, POSITION] = 0
    size -= 1
    if position < size:
        heap[position] = heap[size]
        change(heap, size, position, heap[position] >> 32, table)
    return size
