"""Which sections are looked at, and what time does to one that is left alone, by worked examples."""

from __future__ import annotations

import numpy as np

from pghot.kernel.maps import MappingKind
from pghot.live.machine.coldest import coldest
from pghot.live.machine.pages import Pages
from pghot.live.machine.sections import SECTION_PAGES

Sections = dict[int, list[tuple[int, int]]]


def found(sections: Sections, bound: list[int], most: int, least: int = 2) -> tuple[list[int], list[int]]:
    """The coldest pages of {section: [(page, age)]}, and the sections that were looked at, in this order."""
    looked: list[int] = []

    def look(section: int) -> tuple[np.ndarray, np.ndarray]:
        looked.append(section)
        held = [each for each in sections[section] if each[1] >= least]
        return np.array([p for p, _ in held], np.uint32), np.array([age for _, age in held], np.uint8)

    page = coldest(np.array(list(sections), np.int64), np.array(bound, np.int16), least, most, look)
    return page.tolist(), looked


def test_no_section_is_looked_at_that_cannot_have_one_of_the_coldest() -> None:
    sections: Sections = {4: [(40, 9), (41, 3)], 2: [(20, 255), (21, 9)], 7: [(70, 9)], 5: [(50, 255)]}
    bound = [9, 255, 9, 255]
    assert found(sections, bound, 1) == ([20], [2])
    assert found(sections, bound, 2) == ([20, 50], [2, 5])
    # Section 4 comes before section 2: its page of age 9 goes first. Section 7 has none that would.
    assert found(sections, bound, 3) == ([20, 50, 40], [2, 5, 4])
    assert found(sections, bound, 4) == ([20, 50, 40, 21], [2, 5, 4, 7])
    # All of them, no more than asked for: in the order of the sections.
    assert found(sections, bound, 6) == ([40, 41, 20, 21, 70, 50], [2, 5, 4, 7])


def test_pages_of_a_higher_bound_do_not_count_as_coming_first() -> None:
    # When section 1 is next, one page of age 9 is known, of section 3, which comes after it.
    assert found({1: [(10, 9)], 3: [(30, 9), (31, 20)]}, [9, 20], 2) == ([31, 10], [3, 1])


def test_a_section_with_nothing_old_enough_is_not_looked_at() -> None:
    assert found({1: [(10, 1)], 2: [(20, 2)], 3: []}, [1, 2, -1], 5) == ([20], [2])


def test_time_passes_for_a_section_that_is_left_alone() -> None:
    pages = Pages(2 * SECTION_PAGES)
    for section in (0, 1):
        pages.begin(section, np.full(SECTION_PAGES, MappingKind.MOVABLE, np.uint8))
    page, both = np.array([3, 4, 40_000], np.uint32), np.arange(2)
    pages.saw(page, np.array([5, 1, 9], np.uint32))
    pages.put(page, 1)
    pages.sharpen(0, 1, 0)
    pages.grow_older()
    pages.saw(page[:1], np.array([1], np.uint32))  # section 0 learns of the period, section 1 does not
    pages.grow_older()
    assert pages.bound_ages(both, 1).tolist() == [2, 2]
    assert pages.ages(page).tolist() == [1, 2, 2]
    assert pages.heats(page).tolist() == [1, 0, 2]  # (5 // 2 + 1) // 2, 1 // 2 // 2, 9 // 2 // 2
    placed, warm = pages.placed(both)
    assert (placed[1], warm[1], placed.sum()) == (3, 2, 3)
    of_level, highest = pages.levels(both)
    assert of_level.tolist()[1:3] == [1, 1]
    assert highest.tolist() == [1, 2]


def test_a_page_that_may_not_move_after_all_is_counted_no_more() -> None:
    pages = Pages(SECTION_PAGES)
    pages.begin(0, np.full(SECTION_PAGES, MappingKind.MOVABLE, np.uint8))
    page = np.array([3, 4], np.uint32)
    pages.put(page, np.array([0, 254], np.uint8))
    pages.set_kind(page[:1], MappingKind.SHARED)
    placed, _ = pages.placed(np.arange(1))
    assert np.flatnonzero(placed).tolist() == [254]
    assert pages.bound_ages(np.arange(1), 0).tolist() == [-1]
