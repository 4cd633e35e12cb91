"""Slow, plain versions of the kernels of `pghot.kernel.damon_decode`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U64
from pghot.kernel.damon_decode import _RAW_AT
from pghot.kernel.damon_records import FOUND, LOST, TAIL
from pghot.kernel.perf_records import RECORD_LOST, RECORD_SAMPLE


def decode_reference(
    ring: npt.NDArray[np.uint32], tail: int, head: int, layout: I64, out: U64, counts: I64
) -> None:
    """`decode` record by record in plain Python."""
    data = ring.tobytes()
    counts[:] = 0
    found, at = 0, tail

    def number(place: int, size: int) -> int:
        return int.from_bytes(bytes(data[(place + i) % len(data)] for i in range(size)), "little")

    while at < head and found < out.shape[1]:
        kind, size = number(at, 4), number(at + 6, 2)
        if size < 8 or size % 8 or at + size > head:
            counts[LOST] += 1
            at = head
            break
        if kind == RECORD_SAMPLE and size >= _RAW_AT + int((layout[:, 0] + layout[:, 1]).max()):
            for row, (offset, width) in enumerate(layout.tolist()):
                out[row, found] = number(at + _RAW_AT + offset, width)
            found += 1
        elif kind == RECORD_SAMPLE:
            counts[LOST] += 1
        elif kind == RECORD_LOST and size >= 24:
            counts[LOST] += number(at + 16, 4)
        at += size
    counts[TAIL], counts[FOUND] = at, found
