"""How hot a cell is: its misses for each touched page and second, on a logarithmic scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pghot.arrays import F64, I64
from pghot.recording.heat import HeatMap
from pghot.units import format_number

DECADES = 5  # what is that much colder than the hottest cell, or more, has the coldest colour


@dataclass(frozen=True, slots=True)
class Levels:
    """Heat from `least` to `most`, in the unit that `unit` names; both 0 without any heat."""

    least: float
    most: float
    unit: str

    def of(self, heat: F64, steps: int) -> I64:
        """The step of each heat on the scale, from 0 to steps - 1; -1 for no heat at all.

        Where all is equally hot, nothing is colder than the rest: it has the hottest step.

        >>> Levels(2, 2, "").of(np.array([0.0, 2.0]), 9).tolist()
        [-1, 8]
        """
        if not self.most:
            return np.full(heat.shape, -1, np.int64)
        span = np.log(self.most / self.least)
        share = np.log(np.maximum(heat, self.least) / self.least) / span if span else np.ones(heat.shape)
        return np.where(heat > 0, np.minimum((share * steps).astype(np.int64), steps - 1), -1)

    def bounds(self, steps: int) -> list[float]:
        """Where each of the steps begins, and where the last ends."""
        if not self.most:
            return [0.0] * (steps + 1)
        return [self.least * (self.most / self.least) ** (step / steps) for step in range(steps + 1)]


def heat_of(found: HeatMap) -> F64:
    """float64[rows, bins]: what each cell counted, for each touched page of its row and second."""
    pages = np.array([row.pages for row in found.rows], np.float64).reshape(-1, 1)
    return found.cells / pages / (found.time.bin_ns / 1e9)


def levels_of(found: HeatMap, heat: F64) -> Levels:
    """The scale of a map, over at most `DECADES` decades."""
    some = heat[heat > 0]
    most = float(some.max(initial=0))
    least = max(float(some.min(initial=most)), most / 10**DECADES)
    return Levels(least, most, f"{found.measure} per page and second")


def short(value: float) -> str:
    """
    >>> short(0.0213), short(4.3), short(12345)
    ('0.021', '4.3', '12 k')
    """
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return (
                f"{format_number(value / scale, 2)} {unit}"
                if value < 100 * scale
                else f"{value / scale:.0f} {unit}"
            )
    return format_number(value, 2) if value < 100 else f"{value:.0f}"
