"""What the live side keeps for each dense page beside its hotness record: six bytes.

Arrays over the whole index space; the kernel gives memory only to the parts that sections use.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pghot.arrays import NOWHERE, U8, U16, U32, Int
from pghot.kernel.maps import MappingKind
from pghot.policies.live_rules import OLDEST

# Bits of `marks`.
ORIGIN_WRITTEN = 1  # the journal knows where it was first
PROMOTED = 2
DEMOTED = 4
WOULD_MOVE = 8  # a dry run has counted it
RETRY_SHIFT = 4  # two bits: how often it was busy
REFUSAL_SHIFT = 6  # two bits: how often the compressed tier did not take it
MOST_TRIES = 3


class Pages:
    """State of every dense page.

    kind   uint8[pages]  `MappingKind` of its mapping; UNMAPPED for pages of no section
    place  uint8[pages]  node as last heard, `NOWHERE`
    age    uint8[pages]  ageing periods since a source last saw it (or since its promotion), to `OLDEST`
    heat   uint16[pages] accesses seen, halved every ageing period: the order of `pghot hot`
    marks  uint8[pages]  the bits above
    """

    def __init__(self, pages: int) -> None:
        self.kind = np.zeros(pages, np.uint8)
        self.place = np.full(pages, NOWHERE, np.uint8)
        self.age = np.zeros(pages, np.uint8)
        self.heat = np.zeros(pages, np.uint16)
        self.marks = np.zeros(pages, np.uint8)

    def reset(self, pages: slice | U32) -> None:
        """These pages no longer hold anything."""
        self.kind[pages] = MappingKind.UNMAPPED
        self.place[pages] = NOWHERE
        self.age[pages] = OLDEST
        self.heat[pages] = 0
        self.marks[pages] = 0

    def retries(self, page: U32, shift: int = RETRY_SHIFT) -> U8:
        """How often each page was busy when it should move (`REFUSAL_SHIFT`: out to swap), to `MOST_TRIES`."""
        return (self.marks[page] >> np.uint8(shift)) & np.uint8(MOST_TRIES)

    def add_retry(self, page: U32, shift: int = RETRY_SHIFT) -> None:
        """These pages were busy."""
        again = page[self.retries(page, shift) < MOST_TRIES]
        self.marks[again] += 1 << shift

    def give_up(self, page: U32) -> None:
        """The compressed tier will never take these pages."""
        self.marks[page] |= MOST_TRIES << REFUSAL_SHIFT

    def saw(self, page: U32, count: U32) -> None:
        """A source saw these pages (a page may appear more than once) just now, `count` times each."""
        warm(self.heat, self.age, page, count)

    def grow_older(self, sections: list[slice]) -> None:
        """One ageing period passed for the pages of these sections."""
        for pages in sections:
            cool(self.heat[pages], self.age[pages])

    def bytes_per_page(self) -> int:
        arrays = (self.kind, self.place, self.age, self.heat, self.marks)
        return sum(array.itemsize for array in arrays)


@njit(cache=True)
def warm(heat: U16, age: U8, page: U32, count: U32) -> None:
    """Add to the heat, saturating at 65535; the pages are new again."""
    for i in range(page.shape[0]):
        p = page[i]
        hotter: Int = np.int64(heat[p]) + np.int64(count[i])
        heat[p] = min(hotter, 65535)
        age[p] = 0


@njit(cache=True)
def cool(heat: U16, age: U8) -> None:
    """Halve the heat; one period older, saturating."""
    for i in range(age.shape[0]):
        heat[i] >>= 1
        age[i] += age[i] != OLDEST
