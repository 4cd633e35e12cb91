"""The compiled pass over the records in a perf ring (`pghot.kernel.perf_records`).

Sources import it where they read a ring: naming one must load no Numba.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import I64, U8, U64, Int
from pghot.jit import njit
from pghot.kernel.perf_records import (
    AUX_DATA_LOST,
    AUX_LOST,
    CORRUPT,
    CPU,
    FOUND,
    LOST,
    OTHER,
    PID,
    RECORD_AUX,
    RECORD_LOST,
    RECORD_LOST_SAMPLES,
    RECORD_SAMPLE,
    RECORD_THROTTLE,
    TAIL,
    THROTTLED,
    Samples,
)
from pghot.kernel.ring_order import barrier


def decode_samples(ring: U8, tail: int, head: int, words: I64, out: Samples) -> int:
    """Decode the records in bytes [tail, head) of a ring; returns how many samples `out` got.

    `out.counts[TAIL]` says how far the pass came: less than `head` when `out` was full.
    """
    decode(ring.view(np.uint64), tail, head, words, out.fields, out.counts)
    return int(out.counts[FOUND])


@njit(cache=True)
def decode(ring: U64, tail: Int, head: Int, words: I64, fields: U64, counts: I64) -> None:
    """`decode_samples` on the ring as uint64[N/8]; a record's words never cross the end within a word."""
    barrier()
    counts[:] = 0
    mask: Int = ring.shape[0] - 1
    expected: Int = 8 * (1 + words.shape[0])
    found: Int = 0
    at: Int = tail
    while at < head:
        word: Int = at >> 3
        header: Int = ring[word & mask]
        size: Int = np.int64(header >> np.uint64(48))
        kind: Int = np.int64(header & np.uint64(0xFFFFFFFF))
        if size < 8 or size & 7 or at + size > head:
            counts[CORRUPT] += 1
            at = head
            break
        if kind == RECORD_SAMPLE and size >= expected:
            if found == fields.shape[1]:
                break
            for w in range(words.shape[0]):
                row: Int = words[w]
                if row >= 0:
                    value: Int = ring[(word + 1 + w) & mask]
                    if row == PID or row == CPU:  # noqa: SIM109 - numba
                        value &= np.uint64(0xFFFFFFFF)
                    fields[row, found] = value
            found += 1
        elif kind == RECORD_SAMPLE:
            counts[CORRUPT] += 1
        elif kind == RECORD_LOST and size >= 24:
            counts[LOST] += np.int64(ring[(word + 2) & mask])
        elif kind == RECORD_LOST_SAMPLES and size >= 16:
            counts[LOST] += np.int64(ring[(word + 1) & mask])
        elif kind == RECORD_THROTTLE:
            counts[THROTTLED] += 1
        elif kind == RECORD_AUX and size >= 32 and ring[(word + 3) & mask] & np.uint64(AUX_DATA_LOST):
            counts[AUX_LOST] += 1
        else:
            counts[OTHER] += 1
        at += size
    counts[TAIL] = at
    counts[FOUND] = found
    barrier()
