"""Slow, plain versions of the kernels of `pghot.recording.encoding`."""

from __future__ import annotations

import numpy as np

from pghot.arrays import I64, U8, U32


def join_planes_reference(low: U8, high: U8, out: U32) -> None:
    """`join_planes` in NumPy."""
    out[:] = low.astype(np.uint32) + 256 * high.astype(np.uint32)


def sum_deltas_reference(page: U32, offsets: I64) -> int:
    """`sum_deltas` in NumPy."""
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        sums = np.cumsum(page[begin:end].astype(np.uint64))
        beyond = np.flatnonzero(sums > 0xFFFFFFFF)
        if len(beyond):
            page[begin : begin + int(beyond[0])] = sums[: int(beyond[0])]
            return int(begin) + int(beyond[0])
        page[begin:end] = sums
    return -1
