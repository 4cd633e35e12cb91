"""Slow, plain versions of the kernels of `pghot.recording.from_accesses`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U32
from pghot.recording.from_accesses import Flags


def aggregate_reference(
    page: U32,
    writes: Flags,
    misses: Flags,
    per_slice: int,
    counts: npt.NDArray[np.uint32],
    seen: npt.NDArray[np.uint64],
    offsets: I64,
    rows: npt.NDArray[np.uint32],
) -> None:
    """`aggregate` with dictionaries; it needs no scratch."""
    row = 0
    for s in range(len(offsets) - 1):
        totals: dict[int, list[int]] = {}
        for i in range(s * per_slice, min((s + 1) * per_slice, len(page))):
            total = totals.setdefault(int(page[i]), [0, 0, 0])
            total[0] += 1
            total[1] += int(misses[i]) if len(misses) else 1
            total[2] += int(writes[i]) if len(writes) else 0
        for p in sorted(totals):
            rows[:, row] = [p, *totals[p]]
            row += 1
        offsets[s + 1] = row
