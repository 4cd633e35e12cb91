"""Slow, plain versions of the kernels of `pghot.sim.sources.abit`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pghot.arrays import NOWHERE


def set_abits_reference(
    page: npt.NDArray[np.uint32],
    touches: npt.NDArray[np.uint32],
    place: npt.NDArray[np.uint8],
    lower: npt.NDArray[np.bool_],
    abit: npt.NDArray[np.uint8],
) -> None:
    """`set_abits` with index arrays."""
    touched = page[(touches > 0) & (place[page] != NOWHERE)]
    abit[touched[lower[place[touched]]]] = 1


def harvest_abits_reference(
    abit: npt.NDArray[np.uint8], place: npt.NDArray[np.uint8], lower: npt.NDArray[np.bool_]
) -> tuple[int, list[int]]:
    """`harvest_abits` with index arrays: (pages walked, pages reported)."""
    walked = [p for p in range(len(place)) if place[p] != NOWHERE and lower[place[p]]]
    found = [p for p in walked if abit[p]]
    abit[found] = 0
    return len(walked), found
