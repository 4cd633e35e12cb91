"""Slow, plain versions of the kernels of `pghot.recording.totals`."""

from __future__ import annotations

import numpy as np

from pghot.arrays import U32
from pghot.recording.totals import Counts


def add_rows_reference(page: U32, touches: U32, misses: U32, writes: U32, totals: Counts) -> None:
    """`add_rows` in NumPy."""
    for total, column in zip(totals, (touches, misses, writes), strict=True):
        np.add.at(total, page, column.astype(np.uint64))
