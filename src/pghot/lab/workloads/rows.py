"""Rows of one slice, before the accessing node is known, and the random numbers that patterns draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pghot.arrays import F64, U32
from pghot.jit import njit
from pghot.sim.sources.sampling import next_unit

# Above this mean the counts are drawn by NumPy; below, by inversion, which needs about mean + 1 steps.
_INVERSION_MAX = 12.0


@dataclass(frozen=True, slots=True)
class Rows:
    """One row for each touched page, ascending; the columns as in `recording.trace.SliceBatch`."""

    page: U32
    touches: U32
    misses: U32
    sequential: U32
    writes: U32


class Draws:
    """The random numbers of one pass over a workload: the same seed gives the same slices."""

    def __init__(self, seed: int) -> None:
        self.numpy = np.random.default_rng(seed)
        self.state = np.array([self.numpy.integers(1, 1 << 63)], np.uint64)

    def rounded(self, values: npt.NDArray[np.floating[Any]]) -> U32:
        """Values rounded up or down at random, so that their means are kept."""
        return np.floor(values + self.numpy.random(len(values))).astype(np.uint32)


@njit(cache=True)
def poisson_rows(
    mean: F64,
    chance_of_none: F64,
    large: npt.NDArray[np.int64],
    state: npt.NDArray[np.uint64],
    out_page: U32,
    out_count: U32,
) -> int:
    """Draw a Poisson count for each page; returns the number of pages with a count above zero, in the out
    arrays.

    mean            float64[pages], expected count
    chance_of_none  float64[pages], exp(-mean)
    large           counts of the pages whose mean is above `_INVERSION_MAX`, in page order, drawn beforehand
    state           uint64[1], of the generator
    """
    rows = 0
    next_large = 0
    for page in range(len(mean)):
        count = np.int64(0)
        if mean[page] > _INVERSION_MAX:
            count = large[next_large]
            next_large += 1
        elif mean[page] > 0.0:
            left = next_unit(state)
            chance = chance_of_none[page]
            while (
                left > chance and count < 100
            ):  # 100: far out of reach of a mean of 12, save by rounding errors
                left -= chance
                count += 1
                chance *= mean[page] / count
        if count > 0:
            out_page[rows] = page
            out_count[rows] = count
            rows += 1
    return rows


class RandomField:
    """Independent random accesses: page `i` gets a Poisson count of mean `accesses * chance[i]` in a slice.

    chance  float64[pages], sums to 1
    """

    def __init__(self, chance: F64) -> None:
        self._chance = chance
        self._accesses = -1.0
        self._mean = self._none = self._large_mean = np.empty(0)

    def draw(self, accesses: float, draws: Draws) -> tuple[U32, U32]:
        """(page, touches) of one slice."""
        if accesses != self._accesses:
            self._accesses, self._mean = accesses, self._chance * accesses
            self._none = np.exp(-self._mean)
            self._large_mean = self._mean[self._mean > _INVERSION_MAX]
        page, count = np.empty(len(self._mean), np.uint32), np.empty(len(self._mean), np.uint32)
        large = draws.numpy.poisson(self._large_mean).astype(np.int64)
        rows = poisson_rows(self._mean, self._none, large, draws.state, page, count)
        return page[:rows], count[:rows]


def random_rows(page: U32, touches: U32, write_share: float, draws: Draws) -> Rows:
    """Rows of which every touch misses and none is sequential."""
    writes = draws.rounded(touches * write_share) if write_share else np.zeros(len(page), np.uint32)
    return Rows(page, touches, touches, np.zeros(len(page), np.uint32), writes)


def shift_rows(rows: Rows, first_page: int) -> Rows:
    """The same rows, `first_page` pages further up."""
    page = rows.page + np.uint32(first_page)
    return Rows(page, rows.touches, rows.misses, rows.sequential, rows.writes)


def merge_rows(parts: list[Rows]) -> Rows:
    """One row for each page of all the parts, ascending."""
    if len(parts) == 1:
        return parts[0]
    page = np.concatenate([part.page for part in parts])
    order = np.argsort(page, kind="stable")
    page = page[order]
    first = np.flatnonzero(np.concatenate([[True], page[1:] != page[:-1]])[: len(page)])

    def summed(columns: list[U32]) -> U32:
        column = np.concatenate(columns)[order]
        return np.add.reduceat(column, first).astype(np.uint32) if len(first) else column

    return Rows(
        page[first],
        summed([part.touches for part in parts]),
        summed([part.misses for part in parts]),
        summed([part.sequential for part in parts]),
        summed([part.writes for part in parts]),
    )
