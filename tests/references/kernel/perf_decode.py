"""Slow, plain versions of the kernels of `pghot.kernel.perf_decode`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
