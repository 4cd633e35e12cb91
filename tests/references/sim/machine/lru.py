"""Slow, plain versions of the kernels of `pghot.sim.machine.lru`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pghot.arrays import U8, U32, Bool


def age_pages_reference(
    young: npt.NDArray[np.uint8], generation: npt.NDArray[np.uint32], sequence: int
) -> None:
    """Plain form of `age_pages`."""
    generation[young > 0] = sequence
    young[:] = 0


def take_old_reference(queue: U32, place: U8, node: int, young: U8, taken: Bool, out: U32) -> tuple[int, int]:
    """`take_old` with index arrays."""
    fit = np.flatnonzero((place[queue] == node) & (young[queue] == 0) & ~taken[queue])[: len(out)]
    out[: len(fit)] = queue[fit]
    enough = len(out) == 0 or len(fit) == len(out)
    return len(fit), (int(fit[-1]) + 1 if len(fit) else 0) if enough else len(queue)
