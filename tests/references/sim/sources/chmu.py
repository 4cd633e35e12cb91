"""Slow, plain versions of the kernels of `pghot.sim.sources.chmu`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pghot.arrays import NOWHERE
from references.sim.sources.sampling import next_unit_reference


def count_misses_reference(
    page: npt.NDArray[np.uint32],
    misses: npt.NDArray[np.uint32],
    place: npt.NDArray[np.uint8],
    lower: npt.NDArray[np.bool_],
    downsampling: int,
    rng: npt.NDArray[np.uint64],
    counts: npt.NDArray[np.uint64],
) -> None:
    """`count_misses` in Python integers."""
    for p, number in zip(page.tolist(), misses.tolist(), strict=True):
        if number and place[p] != NOWHERE and lower[place[p]]:
            extra = int(next_unit_reference(rng) * downsampling) if downsampling > 1 else 0
            counts[p] += np.uint64((number + extra) // downsampling)


def fill_hot_list_reference(
    counts: npt.NDArray[np.uint64],
    place: npt.NDArray[np.uint8],
    device: int,
    threshold: int,
    first: int,
    ring_entries: int,
) -> tuple[list[int], int, int]:
    """`fill_hot_list` as a list of pages: (pages entered, units lost, next start)."""
    order = [*range(first, len(place)), *range(first)]
    hot = [p for p in order if place[p] == device and counts[p] > threshold]
    lost = hot[ring_entries:]
    return hot[:ring_entries], len(lost), lost[0] if lost else first
