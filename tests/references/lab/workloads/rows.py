"""Slow, plain versions of the kernels of `pghot.lab.workloads.rows`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pghot.arrays import F64
from pghot.lab.workloads.rows import _INVERSION_MAX
from references.sim.sources.sampling import next_unit_reference


def poisson_rows_reference(
    mean: F64, chance_of_none: F64, large: npt.NDArray[np.int64], state: npt.NDArray[np.uint64]
) -> list[tuple[int, int]]:
    """`poisson_rows` as (page, count) tuples, by the cumulative distribution of each page."""
    rows = []
    waiting = iter(large.tolist())
    for page, expected in enumerate(mean.tolist()):
        count = 0
        if expected > _INVERSION_MAX:
            count = next(waiting)
        elif expected > 0:
            left, chance = next_unit_reference(state), float(chance_of_none[page])
            while left > chance and count < 100:
                left, count = left - chance, count + 1
                chance *= expected / count
        if count:
            rows.append((page, count))
    return rows
