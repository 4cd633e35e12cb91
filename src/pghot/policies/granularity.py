"""How large the pieces of memory are that a policy counts and moves as a whole: its class's `granularity_bytes`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U32
from pghot.policies.policy import Policy
from pghot.units import PAGE_BYTES


def granularity_of(policy: type[Policy[Any]]) -> int:
    """Bytes of the unit that this policy counts and moves as a whole: its class's `granularity_bytes`, or 4096."""
    return int(getattr(policy, "granularity_bytes", PAGE_BYTES))


class Units:
    """The units that a policy counts: pages, or larger pieces of memory that it moves as a whole.

    pages, count  how many pages there are, and how many units

    Where a page of the run stands for fewer real pages than a unit has, neighbouring pages share a unit. Where it
    stands for more, it is taken to consist of whole units that are alike: heat is assumed to come in ranges of that
    size, which flatters the policy.

    >>> units = Units(pages=6, page_bytes=4096, group_pages=200.0, granularity_bytes=2 << 20)
    >>> units.of(np.arange(6)).tolist(), units.pages_of(np.array([1])).tolist()
    ([0, 0, 0, 1, 1, 1], [3, 4, 5])
    """

    def __init__(self, pages: int, page_bytes: int, group_pages: float, granularity_bytes: int) -> None:
        self.pages = pages
        self._share = min(1.0, group_pages * page_bytes / granularity_bytes)  # a page's share of a unit
        self.count = math.floor((pages - 1) * self._share) + 1
        self._starts = self._first(np.arange(self.count + 1))

    def of(self, page: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The unit of each page, as an index."""
        return page if self._share == 1 else (page * self._share).astype(np.int64)

    def pages_of(self, unit: I64) -> U32:
        """The pages of these units (ascending), in order."""
        if self._share == 1:
            return unit.astype(np.uint32)
        first = self._starts[unit]
        pages = self._starts[unit + 1] - first
        running = np.cumsum(pages)
        inside = np.arange(running[-1] if len(running) else 0) - np.repeat(running - pages, pages)
        return np.asarray(np.repeat(first, pages) + inside, np.uint32)

    def _first(self, unit: I64) -> I64:
        """The first page of each unit; `pages` for the one after the last."""
        guess = np.ceil(unit / self._share)
        guess -= np.floor((guess - 1) * self._share) >= unit  # the division may have rounded up, or down
        guess += np.floor(guess * self._share) < unit
        return np.minimum(guess, self.pages).astype(np.int64)
