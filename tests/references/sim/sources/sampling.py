"""Slow, plain versions of the kernels of `pghot.sim.sources.sampling`."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pghot.sim.sources.sampling import _MASK, _MULTIPLIER


def next_unit_reference(rng: npt.NDArray[np.uint64]) -> float:
    """`next_unit` in Python integers."""
    x = int(rng[0])
    x ^= x >> 12
    x ^= (x << 25) & _MASK
    x ^= x >> 27
    rng[0] = x
    return ((x * _MULTIPLIER & _MASK) >> 11) / (1 << 53)


def sample_events_reference(
    events: npt.NDArray[np.uint32],
    unit_pages: int,
    period: int,
    rng: npt.NDArray[np.uint64],
    ahead: npt.NDArray[np.float64],
) -> list[tuple[int, int]]:
    """`sample_events`, event by event: (row, samples) of the rows hit."""
    counts: dict[int, int] = {}
    wait = int(ahead[0])
    for row, number in enumerate(events):
        for _ in range(int(number) * unit_pages):
            wait -= 1
            if wait:
                continue
            counts[row] = counts.get(row, 0) + 1
            unit = next_unit_reference(rng)
            wait = 1 if period == 1 else 1 + int(math.log(1.0 - unit) / math.log(1.0 - 1.0 / period))
    ahead[0] = wait
    return sorted(counts.items())
