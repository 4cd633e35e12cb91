"""The compiled pass over a perf ring, apart from `pghot.kernel.perf_records` so that naming a source loads no Numba."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from pghot.arrays import U64
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
)
from pghot.kernel.ring_order import barrier

Int = Any


@njit(cache=True)
def decode(
    ring: U64, tail: Int, head: Int, words: npt.NDArray[np.int64], fields: U64, counts: npt.NDArray[np.int64]
) -> None:
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


def decode_reference(
    ring: U64, tail: int, head: int, words: npt.NDArray[np.int64], fields: U64, counts: npt.NDArray[np.int64]
) -> None:
    """`decode` record by record in plain Python."""
    data = ring.tobytes()
    counts[:] = 0
    found, at = 0, tail

    def word(index: int) -> int:
        start = (at + 8 * index) % len(data)
        return int.from_bytes(data[start : start + 8], "little")

    while at < head:
        kind, size = word(0) & 0xFFFFFFFF, word(0) >> 48
        if size < 8 or size % 8 or at + size > head:
            counts[CORRUPT] += 1
            at = head
            break
        if kind == RECORD_SAMPLE and size >= 8 * (1 + len(words)):
            if found == fields.shape[1]:
                break
            for index, row in enumerate(words.tolist()):
                if row >= 0:
                    fields[row, found] = word(1 + index) % 2 ** (32 if row in (PID, CPU) else 64)
            found += 1
        elif kind == RECORD_SAMPLE:
            counts[CORRUPT] += 1
        elif kind == RECORD_LOST and size >= 24:
            counts[LOST] += np.uint64(word(2)).astype(np.int64)
        elif kind == RECORD_LOST_SAMPLES and size >= 16:
            counts[LOST] += np.uint64(word(1)).astype(np.int64)
        elif kind == RECORD_AUX and size >= 32 and word(3) & AUX_DATA_LOST:
            counts[AUX_LOST] += 1
        else:
            counts[THROTTLED if kind == RECORD_THROTTLE else OTHER] += 1
        at += size
    counts[TAIL], counts[FOUND] = at, found
