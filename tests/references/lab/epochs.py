"""Slow, plain versions of the kernels of `pghot.lab.epochs`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U32


def add_misses_reference(
    counts: I64, seen: npt.NDArray[np.uint8], found: U32, length: int, page: U32, misses: U32
) -> int:
    """`add_misses` with index arrays."""
    seen[page] = 1
    fresh = [p for p in dict.fromkeys(page[misses > 0].tolist()) if counts[p] == 0]
    found[length : length + len(fresh)] = fresh
    np.add.at(counts, page, misses)
    return length + len(fresh)


def take_misses_reference(counts: I64, page: U32, misses: I64, total: I64) -> None:
    """`take_misses` with index arrays."""
    misses[:] = counts[page]
    total[page] += misses
    counts[page] = 0
