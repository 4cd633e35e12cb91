"""What the live side keeps for each dense page beside its hotness record: six bytes.

Arrays over the whole index space; the kernel gives memory only to the parts that sections use. Summaries of each
section follow what is written through the methods here.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import I16, I64, NOWHERE, U8, U16, U32, Bool
from pghot.kernel.maps import MappingKind
from pghot.live.machine import summaries
from pghot.live.machine.sections import SECTION_SHIFT
from pghot.live.machine.summaries import LEVELS, summaries_of
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
    place  uint8[pages]  node as last heard, `NOWHERE`; means nothing for pages of no section
    marks  uint8[pages]  the bits above

    Age and heat are asked for with `ages` and `heats`, since time passes only where somebody looks.
    """

    def __init__(self, pages: int) -> None:
        self.kind = np.zeros(pages, np.uint8)
        self.place = np.zeros(pages, np.uint8)
        self.marks = np.zeros(pages, np.uint8)
        self.period = 0  # ageing periods so far
        self.state = summaries_of(
            self.kind, self.place, np.zeros(pages, np.uint8), np.zeros(pages, np.uint16)
        )

    # ---- sections

    def begin(self, section: int, kind: U8) -> None:
        """A section comes into use; uint8[32768]: the kind of each of its pages."""
        pages = self._pages_of(section)
        self._clear(pages)
        self.kind[pages] = kind
        self._nothing_in(section)
        self.state.counts[0, section, 0] = np.count_nonzero(kind == MappingKind.MOVABLE)

    def end(self, section: int) -> None:
        """The pages of a section no longer hold anything."""
        pages = self._pages_of(section)
        self._clear(pages)
        self.kind[pages] = MappingKind.UNMAPPED
        self._nothing_in(section)

    def change(self, section: int, kind: U8) -> list[slice]:
        """Other kinds of the pages of a section. Returns the runs of pages that lost their mapping."""
        pages = self._pages_of(section)
        gone = (kind == MappingKind.UNMAPPED) & (self.kind[pages] != MappingKind.UNMAPPED)
        lost = [slice(pages.start + first, pages.start + last) for first, last in _runs(gone)]
        for each in lost:
            self._clear(each)
        self.kind[pages] = kind
        self.recount(section)
        return lost

    def recount(self, section: int) -> None:
        """Make the summaries of a section from its pages."""
        summaries.recount(self.state, section, self.period)

    def _pages_of(self, section: int) -> slice:
        return slice(section << SECTION_SHIFT, (section + 1) << SECTION_SHIFT)

    def _clear(self, pages: slice) -> None:
        self.place[pages] = NOWHERE
        self.state.age[pages] = OLDEST
        self.state.heat[pages] = 0
        self.marks[pages] = 0

    def _nothing_in(self, section: int) -> None:
        self.state.counts[: self.state.rows[0], section] = 0
        self.state.oldest[: self.state.rows[0], section] = 0
        self.state.settled[section] = self.period

    # ---- pages

    def put(self, page: U32, place: U8 | int) -> None:
        """These pages (uint32[K]) are on this node now, or each on its own (uint8[K])."""
        summaries.put(self.state, page, np.full(len(page), place, np.uint8))

    def set_age(self, page: U32, age: int) -> None:
        """These pages were last seen so many ageing periods ago, or count as such."""
        summaries.set_age(self.state, page, age, self.period)

    def set_kind(self, page: U32, kind: MappingKind) -> None:
        """These pages may not move after all."""
        summaries.set_kind(self.state, page, int(kind))

    def ages(self, page: U32) -> U8:
        """uint8[K]: ageing periods since a source last saw each page (or since its promotion), to `OLDEST`."""
        summaries.settle_pages(self.state, page, self.period)
        ages: U8 = self.state.age[page]
        return ages

    def heats(self, page: U32) -> U16:
        """uint16[K]: accesses seen, halved every ageing period: the order of `pghot hot`."""
        summaries.settle_pages(self.state, page, self.period)
        heats: U16 = self.state.heat[page]
        return heats

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
        summaries.warm(self.state, page, count, self.period)

    def grow_older(self) -> None:
        """One ageing period passed."""
        self.period += 1

    def bytes_per_page(self) -> int:
        arrays = (self.kind, self.place, self.state.age, self.state.heat, self.marks)
        return sum(array.itemsize for array in arrays)

    # ---- what the summaries say of sections (int64[S])

    def placed(self, sections: I64) -> tuple[I64, I64]:
        """Two int64[255]: movable pages on each node, and those of them with some heat."""
        placed, warm = np.zeros(NOWHERE, np.int64), np.zeros(NOWHERE, np.int64)
        summaries.count_placed(self.state, sections, self.period, placed, warm)
        return placed, warm

    def levels(self, sections: I64) -> tuple[I64, U8]:
        """int64[LEVELS]: movable pages by the bits of their heat; uint8[S]: the most bits in each section."""
        of_level, highest = np.zeros(LEVELS, np.int64), np.zeros(len(sections), np.uint8)
        summaries.count_levels(self.state, sections, self.period, of_level, highest)
        return of_level, highest

    def bound_ages(self, sections: I64, node: int) -> I16:
        """int16[S]: no movable page on `node` is older; -1 where there is none."""
        bound = np.empty(len(sections), np.int16)
        summaries.bound_ages(self.state, sections, node, self.period, bound)
        return bound

    def held_on(self, section: int, node: int) -> U32:
        """uint32[K]: the movable pages of a section on `node`."""
        pages = self._pages_of(section)
        held = (self.place[pages] == node) & (self.kind[pages] == MappingKind.MOVABLE)
        page: U32 = (np.flatnonzero(held) + pages.start).astype(np.uint32)
        return page

    def sharpen(self, section: int, node: int, oldest: int) -> None:
        """The oldest movable page on `node` was looked for: it is so old now."""
        self.state.oldest[summaries.row_of(node), section] = oldest


def _runs(flags: Bool) -> list[tuple[int, int]]:
    """First and one past the last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.view(np.int8), [0]))))
    return [(int(edges[i]), int(edges[i + 1])) for i in range(0, len(edges), 2)]
