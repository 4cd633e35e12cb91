"""A last-level cache for traces of all accesses: exact LRU in each set, shared by all address spaces.

The recorder's plugin has the same model in front of its counters (recorder/plugin.c), with a filter before it. A trace
has no such filter: what a first-level cache would take is a hit here too, but for its place in the order of the set.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import U16, U64, Bool
from pghot.jit import kernel
from pghot.units import LINE_BYTES

WAYS = 16
CACHE_BYTES = 1 << 20  # the smallest that `pghot record` models; its pages stand for more (docs/model.md)


class CacheModel:
    """What of a stream of accesses misses. The sets are a power of two."""

    def __init__(self, cache_bytes: int = CACHE_BYTES) -> None:
        self._tags = np.zeros((cache_bytes // (WAYS * LINE_BYTES), WAYS), np.uint64)

    def misses(self, address: U64, space: U16) -> Bool:
        """bool[N]: whether each access misses. An access is of the line that its first byte is in.

        space  uint16[N or 1]
        """
        missed = np.empty(len(address), np.bool_)
        look_up(address, space, self._tags, missed)
        return missed


@kernel
def look_up(address: U64, space: U16, tags: U64, missed: Bool) -> None:
    """Look each line up, most recent first, and put it in front.

    tags    uint64[sets, ways]  line + 1 below the space's bits; 0 is empty
    missed  bool[N]             filled in
    """
    sets, ways = tags.shape
    last = len(space) - 1
    for i in range(len(address)):
        line = address[i] >> np.uint64(6)
        s = np.int64((line ^ (line >> np.uint64(15))) & np.uint64(sets - 1))
        tag = (line + np.uint64(1)) ^ (np.uint64(space[min(i, last)]) << np.uint64(52))
        at = 0
        while at < ways - 1 and tags[s, at] != tag:
            at += 1
        missed[i] = tags[s, at] != tag
        while at > 0:
            tags[s, at] = tags[s, at - 1]
            at -= 1
        tags[s, 0] = tag
