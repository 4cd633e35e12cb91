"""Which site each page was mapped at: the first goes with the page's region, later ones are listed with their time."""

from __future__ import annotations

from typing import Any

import numpy as np

from pghot.arrays import U32
from pghot.recording.reallocations import MAX_REALLOCATIONS, Reallocation, to_facts


class PageSites:
    """The sites of a recording's pages so far.

    later  what was mapped anew at another site, in the order of time
    lost   how many of these there was no room for, and what the plugin lost
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._of_page: U32 = np.zeros(0, np.uint32)  # 0: not named yet
        self.later: list[Reallocation] = []
        self.lost = 0

    def name(self, first: int, pages: int, site: str, time_ns: int) -> list[tuple[int, int]]:
        """Pages [first, first + pages) are of this site from now on. Returns (first, pages) of those that never had
        one: the site belongs in their region."""
        number = self._numbers.setdefault(site, len(self._numbers) + 1)
        if first + pages > len(self._of_page):
            size = max(first + pages, 2 * len(self._of_page))
            self._of_page = np.concatenate([self._of_page, np.zeros(size - len(self._of_page), np.uint32)])
        before = self._of_page[first : first + pages]
        starts = np.flatnonzero(np.diff(before, prepend=before[:1] + np.uint32(1)))
        runs = list(zip(starts.tolist(), np.diff(starts, append=pages).tolist(), strict=True))
        fresh = [(first + at, length) for at, length in runs if before[at] == 0]
        for at, length in runs:
            if before[at] not in (0, number):
                self._add(Reallocation(time_ns, first + at, length, site))
        before[:] = number
        return fresh

    def _add(self, later: Reallocation) -> None:
        if len(self.later) < MAX_REALLOCATIONS:
            self.later.append(later)
        else:
            self.lost += 1

    def facts(self) -> dict[str, Any]:
        """What the recording's final facts say of it."""
        return {"reallocations": to_facts(self.later), "sites_lost": self.lost}
