"""The hot-set curve: what share of the misses the hottest memory takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pghot.arrays import F64, I64

Counts = npt.NDArray[np.uint64]


def hot_curve(misses: Counts, pages: I64) -> F64:
    """The share of all misses that the hottest `pages` take, for each entry; zeros without any misses.

    misses  uint64[footprint]  of each touched page
    pages   int64[N]           from 0 to the footprint

    >>> hot_curve(np.array([1, 5, 2], np.uint64), np.array([0, 1, 3])).tolist()
    [0.0, 0.625, 1.0]
    """
    taken = np.concatenate([np.zeros(1, np.uint64), np.cumsum(np.sort(misses)[::-1])])
    return taken[pages] / max(1, int(taken[-1]))


def ladder(footprint: int, steps: int) -> I64:
    """Numbers of pages from a thousandth of the footprint to all of it, at even distances on a logarithmic scale.

    >>> ladder(1000, 4).tolist()
    [1, 10, 100, 1000]
    """
    return np.ceil(footprint * np.logspace(-3, 0, steps) * (1 - 1e-12)).astype(np.int64)


def fewest_taking(misses: Counts, percents: Sequence[int], pages: I64 | None = None) -> list[int]:
    """The fewest pages that take at least so many percent of all misses, for each entry; 0 without any misses.

    misses  uint64[N]  of a page, in any order
    pages   int64[N]   how many pages have so many; None: one

    >>> fewest_taking(np.array([1, 5, 3, 1], np.uint64), [50, 90, 99])
    [1, 3, 4]
    >>> fewest_taking(np.array([1, 5], np.uint64), [50, 90, 99], np.array([10, 2]))
    [2, 10, 12]
    """
    if pages is None or (pages == 1).all():  # as nearly always: to sort them is many times faster
        each = np.sort(misses)[::-1]
        number = np.ones(len(each), np.int64)
    else:
        order = np.argsort(misses)[::-1]
        each, number = misses[order], pages[order]
    taken = np.cumsum(each * number.astype(np.uint64))
    total = int(taken[-1]) if len(taken) else 0
    if not total:
        return [0] * len(percents)
    enough = np.array([-(-total * percent // 100) for percent in percents], np.uint64)
    at = np.searchsorted(taken, enough)
    too_many = (taken[at] - enough) // each[at]
    fewest: list[int] = (np.cumsum(number)[at] - too_many.astype(np.int64)).tolist()
    return fewest
