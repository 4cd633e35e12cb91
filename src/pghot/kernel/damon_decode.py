"""The compiled pass over a ring of damon_aggregated (`pghot.kernel.damon_records`).

`pghot.kernel.damon_trace` imports it where it opens a ring: naming the source must load no Numba.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import I64, U32, U64, Int
from pghot.jit import njit
from pghot.kernel.damon_records import FOUND, LOST, TAIL
from pghot.kernel.perf_records import RECORD_LOST, RECORD_SAMPLE
from pghot.kernel.ring_order import barrier

_RAW_AT = 12  # a sample of SAMPLE_RAW alone: header (8 bytes), size of the raw data (4)


@njit(cache=True)
def decode(ring: U32, tail: Int, head: Int, layout: I64, out: U64, counts: I64) -> None:
    """Decode the samples in bytes [tail, head) of a ring (uint32[N/4], N a power of two).

    out     uint64[6, K]  a row for each of `FIELDS`
    counts  int64[3]      TAIL reached (less than `head` when `out` was full), FOUND samples, LOST records: those
                          the kernel had no room for, and those too short for the layout
    """
    barrier()
    counts[:] = 0
    mask: Int = ring.shape[0] - 1
    needed: Int = _RAW_AT + np.max(layout[:, 0] + layout[:, 1])
    found: Int = 0
    at: Int = tail
    while at < head and found < out.shape[1]:
        word: Int = at >> 2
        kind: Int = ring[word & mask]
        size: Int = np.int64(ring[(word + 1) & mask] >> np.uint32(16))
        if size < 8 or size & 7 or at + size > head:
            counts[LOST] += 1
            at = head
            break
        if kind == RECORD_SAMPLE and size >= needed:
            for row in range(layout.shape[0]):
                place: Int = (at + _RAW_AT + layout[row, 0]) >> 2
                value: Int = np.uint64(ring[place & mask])
                if layout[row, 1] == 8:
                    value |= np.uint64(ring[(place + 1) & mask]) << np.uint64(32)
                out[row, found] = value
            found += 1
        elif kind == RECORD_SAMPLE:
            counts[LOST] += 1
        elif kind == RECORD_LOST and size >= 24:
            counts[LOST] += np.int64(ring[(word + 4) & mask])
        at += size
    counts[TAIL] = at
    counts[FOUND] = found
    barrier()
