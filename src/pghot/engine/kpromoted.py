"""kpromoted: the consumer of the `hashed` store. Pops the hottest records of each top-tier node's heap.

One kernel thread for each top-tier node does this every 20 ms, at most 1024 records a time (FACTS section 1).
"""

from __future__ import annotations

from pghot.arrays import I16, U32
from pghot.engine.heap import SLOT_MASK, remove
from pghot.engine.table import KEY, RECORD, HashedArrays, delete
from pghot.jit import njit

SLEEP_MS = 20
BATCH_NR = 1024


@njit(cache=True)
def pop_hottest(arrays: HashedArrays, limit: int, page: U32, record: U32, heap_of: I16) -> int:
    """Pop up to `limit` records from each heap, delete them from the table, and return how many those were.

    page, record, heap_of  uint32[K], uint32[K], int16[K] to write, K at least the sum of min(limit, sizes)
    """
    table, heaps, sizes = arrays.table, arrays.heaps, arrays.sizes
    popped = 0
    for h in range(sizes.shape[0]):
        for _ in range(min(limit, sizes[h])):
            slot = heaps[h, 0] & SLOT_MASK
            sizes[h] = remove(heaps[h], sizes[h], 0, table)
            page[popped] = table[slot, KEY] - 1
            record[popped] = table[slot, RECORD]
            heap_of[popped] = h
            delete(table, heaps, slot)
            popped += 1
    return popped
