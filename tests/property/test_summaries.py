"""The summaries of sections against a walk over all pages: counts, ranking and coldest pages are the same."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pghot.kernel.maps import MappingKind
from pghot.live.hot import enough, hottest_first
from pghot.live.machine.coldest import coldest
from pghot.live.machine.pages import Pages
from pghot.live.machine.runs import runs
from pghot.live.machine.sections import SECTION_PAGES
from references.live.machine.pages import PlainPages

SECTIONS = 3
NODES = np.array([0, 1, 254, 255], np.uint8)
# Pages that may be touched: the ends of sections, where runs go on in the next one, and some neighbours.
OFFSETS = np.array([0, 1, 2, 512, SECTION_PAGES - 2, SECTION_PAGES - 1])
KINDS = np.array([MappingKind.UNMAPPED, MappingKind.MOVABLE, MappingKind.MOVABLE, MappingKind.FILE], np.uint8)


class Both:
    """The same is done to pages with summaries and to plain ones."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.pages, self.plain = Pages(SECTIONS * SECTION_PAGES), PlainPages(SECTIONS * SECTION_PAGES)
        self.begun: list[int] = []

    def some(self) -> np.ndarray:
        """Pages of sections in use, some of them more than once."""
        section = self.rng.choice(self.begun, 6)
        return (section * SECTION_PAGES + self.rng.choice(OFFSETS, 6)).astype(np.uint32)

    def kinds(self) -> np.ndarray:
        kind = np.full(SECTION_PAGES, MappingKind.MOVABLE, np.uint8)
        kind[OFFSETS] = self.rng.choice(KINDS, len(OFFSETS))
        return kind

    def begin(self) -> None:
        section = int(self.rng.integers(0, SECTIONS))
        part = slice(section * SECTION_PAGES, (section + 1) * SECTION_PAGES)
        kind = self.kinds()
        if section not in self.begun:
            self.begun.append(section)
            self.pages.begin(section, kind)
            self.plain.clear(part, kind)
            return
        lost = self.pages.change(section, kind)
        gone = np.flatnonzero((kind == 0) & (self.plain.kind[part] != 0)) + part.start
        assert [page for each in lost for page in range(each.start, each.stop)] == gone.tolist()
        for page in gone.tolist():
            self.plain.clear(slice(page, page + 1), 0)
        self.plain.kind[part] = kind

    def end(self) -> None:
        section = self.begun.pop(int(self.rng.integers(0, len(self.begun))))
        self.pages.end(section)
        self.plain.clear(slice(section * SECTION_PAGES, (section + 1) * SECTION_PAGES), 0)

    def see(self) -> None:
        page, count = self.some(), self.rng.choice([0, 1, 2, 3, 60, 65535, 2**32 - 1], 6).astype(np.uint32)
        self.pages.saw(page, count)
        self.plain.saw(page, count)

    def put(self) -> None:
        page = np.unique(self.some())
        place = self.rng.choice(NODES, len(page))
        self.pages.put(page, place)
        self.plain.place[page] = place

    def set_age(self) -> None:
        page, age = self.some(), int(self.rng.choice([0, 1, 30, 255]))
        self.pages.set_age(page, age)
        self.plain.age[page] = age

    def share(self) -> None:
        page = self.some()[:1]
        self.pages.set_kind(page, MappingKind.SHARED)
        self.plain.kind[page] = MappingKind.SHARED

    def grow_older(self) -> None:
        for _ in range(int(self.rng.choice([1, 1, 2, 3, 17, 300], p=[0.3, 0.2, 0.2, 0.2, 0.05, 0.05]))):
            self.pages.grow_older()
            self.plain.grow_older()

    def check(self) -> None:
        order = np.array(self.begun, np.int64)
        # Some sections follow each other in the address space, others do not.
        keys = np.cumsum(self.rng.integers(1, 3, len(order)))
        placed, warm = self.pages.placed(order)
        assert (placed.tolist(), warm.tolist()) == self.plain.placed()
        most, least = int(self.rng.integers(1, 9)), int(self.rng.choice([1, 2, 30, 255]))
        for node in NODES[:3].tolist():
            bound = self.pages.bound_ages(order, node)
            got = coldest(
                order, bound, least, most, lambda section, node=node: self.look(section, node, least)
            )
            assert got.tolist() == self.plain.coldest(self.begun, node, most, least)
        for join in (False, True):
            assert self.ranking(order, keys, most, join) == self.plain.hottest(
                self.begun, keys.tolist(), most, join
            )

    def look(self, section: int, node: int, least: int) -> tuple[np.ndarray, np.ndarray]:
        page = self.pages.held_on(section, node)
        ages = self.pages.ages(page)
        self.pages.sharpen(section, node, int(ages.max(initial=0)))
        return page[ages >= least], ages[ages >= least]

    def ranking(
        self, order: np.ndarray, keys: np.ndarray, top: int, join: bool
    ) -> list[tuple[int, int, int]]:
        of_level, highest = self.pages.levels(order)
        level = 1 if join else enough(of_level, top)
        warm = highest >= level
        first, pages, heat = runs(self.pages, order[warm], keys[warm], 1 << level - 1, join)
        chosen = hottest_first(heat, top)
        return list(zip(first[chosen].tolist(), pages[chosen].tolist(), heat[chosen].tolist(), strict=True))


acts = st.lists(
    st.sampled_from(["begin", "end", *["see", "put", "grow_older", "check"] * 3, "set_age", "share"]),
    min_size=5,
    max_size=60,
)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), acts)
def test_summaries_say_what_a_full_walk_says(seed: int, history: list[str]) -> None:
    both = Both(seed)
    for act in history:
        if not both.begun:
            both.begin()
        getattr(both, act)()
    both.check()
    # What was asked for is the same page by page, however long the section was left alone.
    page = np.arange(SECTIONS * SECTION_PAGES, dtype=np.uint32)
    used = np.isin(page >> 15, both.begun)
    np.testing.assert_array_equal(both.pages.ages(page)[used], both.plain.age[used])
    np.testing.assert_array_equal(both.pages.heats(page)[used], both.plain.heat[used])
    assert both.pages.bytes_per_page() == 6
