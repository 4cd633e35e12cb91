"""A counting Bloom filter that costs one cache miss: four 4-bit counters for each page, all in one block of 64 bytes.

As HybridTier has it (ASPLOS 2025, section 4; frequency_sketch_block.hpp of its artifact). Each hash has a quarter of
the block for itself, 32 counters. A page's count is the least of its four, so it is never too low, and too high where
other pages share all four. After `limit` counts all counters are halved.
"""

from __future__ import annotations

import math

import numpy as np

from pghot.arrays import U8, U32
from pghot.jit import njit

HASHES = 4
MOST_COUNT = 15  # of a 4-bit counter
QUARTER = 32  # counters of a block for each hash
BLOCK = HASHES * QUARTER
FALSE_POSITIVES = 0.001


def blocks_for(pages: float) -> int:
    """Blocks of a filter in which so many pages collide with a chance of 0.1 %: a power of two, at least 1.

    >>> blocks_for(100_000)  # 20.43 counters for each page
    16384
    """
    counters = -pages * HASHES / math.log(1 - FALSE_POSITIVES ** (1 / HASHES))
    return int(2 ** max(0, round(math.log2(max(1.0, counters / BLOCK)))))


@njit(cache=True)
def counter_of(page: int, which: int, blocks: int) -> int:
    """The index of the page's counter for one of the four hashes (splitmix64)."""
    x = np.uint64(page) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    block = (x >> np.uint64(32)) & np.uint64(blocks - 1)
    inside = (x >> np.uint64(8 * which)) & np.uint64(QUARTER - 1)
    return int(block) * BLOCK + which * QUARTER + int(inside)


@njit(cache=True)
def read_counts(table: U8, page: U32, out: U8) -> None:
    """Set out (uint8[K]) to the count of each page (uint32[K])."""
    blocks = len(table) // BLOCK
    for row in range(len(page)):
        least = MOST_COUNT
        for which in range(HASHES):
            least = min(least, table[counter_of(page[row], which, blocks)])
        out[row] = least


@njit(cache=True)
def add_counts(table: U8, page: U32, count: U32, size: float, limit: float, out: U8) -> float:
    """Count pages one after the other, and halve all counters whenever `limit` is reached.

    out  uint8[K]  set: the count of each page after its own
    size           counted so far, halvings included; returns it after these
    """
    blocks = len(table) // BLOCK
    for row in range(len(page)):
        least = MOST_COUNT
        for which in range(HASHES):
            counter = counter_of(page[row], which, blocks)
            table[counter] = min(MOST_COUNT, table[counter] + count[row])
            least = min(least, table[counter])
        size += count[row]
        if size >= limit:
            for counter in range(len(table)):
                table[counter] >>= 1
            size /= 2
            least >>= 1
        out[row] = least
    return size


class CountingBloom:
    """The filter. `limit` is in counts."""

    def __init__(self, blocks: int, limit: float) -> None:
        self.table = np.zeros(blocks * BLOCK, np.uint8)
        self.limit, self.size = limit, 0.0

    def add(self, page: U32, count: U32) -> U8:
        """Count distinct pages; returns the count of each."""
        out = np.empty(len(page), np.uint8)
        self.size = float(add_counts(self.table, page, count, self.size, self.limit, out))
        return out

    def counts(self, page: U32) -> U8:
        out = np.empty(len(page), np.uint8)
        read_counts(self.table, page, out)
        return out

    def take_one(self, page: U32) -> None:
        """Take one from the counters of these pages, whose count is not 0."""
        for each in page.tolist():
            for which in range(HASHES):
                self.table[counter_of(each, which, len(self.table) // BLOCK)] -= 1

    @property
    def nbytes(self) -> int:
        """Bytes that the filter takes, two counters each."""
        return len(self.table) // 2
