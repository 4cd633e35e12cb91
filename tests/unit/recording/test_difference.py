"""Two recordings side by side, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.small_recordings import missing, recorded
from pghot.recording.difference import Difference, RegionChange, difference, side_of
from pghot.recording.reader import Recording
from pghot.recording.totals import PageTotals, read_once
from pghot.recording.trace import Region

HEAP, OLD, NEW = (
    Region(0, 4, 0, 0x1000, "[heap]"),
    Region(4, 2, 0, 0x9000, "old"),
    Region(4, 2, 0, 0x9000, "new"),
)


def compared(before: Recording, after: Recording) -> Difference:
    sides = []
    for recording in (before, after):
        totals = PageTotals(recording.pages)
        read_once(recording, totals)
        sides.append(side_of(recording, totals))
    return difference(*sides)


@pytest.fixture
def found(tmp_path: Path) -> Difference:
    # Before: 2 slices of 1 ms, 30 misses in one page of the heap and 10 in a region that is gone later.
    before = recorded(tmp_path / "a.pghot", [missing((0, 30)), missing((4, 10))], [HEAP, OLD])
    # After: 4 slices, in each 5 misses of each of three pages of the heap, and 5 of a new region.
    rows = missing((0, 5), (1, 5), (2, 5), (4, 5))
    return compared(before, recorded(tmp_path / "b.pghot", [rows] * 4, [HEAP, NEW]))


def test_regions_are_compared_by_name_per_second_and_by_share(found: Difference) -> None:
    assert found.measure == "misses"
    by_name = {each.name: each for each in found.changes}
    # 30 of 40 misses in 2 ms, then 60 of 80 in 4 ms: as hot as before, and three times the memory.
    assert by_name["[heap]"] == RegionChange("[heap]", 4096, 3 * 4096, 15e3, 15e3, 0.75, 0.75)
    assert by_name["[heap]"].words == ["grew"]
    assert by_name["old"] == RegionChange("old", 4096, 0, 5e3, 0.0, 0.25, 0.0)
    assert by_name["new"] == RegionChange("new", 0, 4096, 0.0, 5e3, 0.0, 0.25)
    assert [each.words for each in (by_name["old"], by_name["new"])] == [["gone"], ["new"]]


def test_what_moved_is_half_of_what_changed_hands(found: Difference) -> None:
    assert found.moved_share == 0.25
    assert [each.name for each in found.changes] == ["new", "old", "[heap]"], "the largest change first"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [(100, 91, []), (100, 90, ["cooler"]), (91, 100, []), (90, 100, ["hotter"]), (0, 0, [])],
)
def test_less_than_a_tenth_of_the_larger_is_no_change(before: float, after: float, words: list[str]) -> None:
    assert RegionChange("a", 4096, 4096, before, after, 0.5, 0.5).words == words


def test_without_misses_on_one_side_touches_are_compared(tmp_path: Path) -> None:
    before = recorded(tmp_path / "a.pghot", [{(0, 0): (8, 0, 0)}], [HEAP])
    after = recorded(tmp_path / "b.pghot", [{(0, 0): (4, 4, 0), (4, 0): (4, 0, 0)}], [HEAP, NEW])
    found = compared(before, after)
    assert found.measure == "touches"
    assert found.moved_share == 0.5


def test_a_recording_beside_itself_shows_no_change(tmp_path: Path) -> None:
    one = recorded(tmp_path / "a.pghot", [missing((0, 3), (4, 1))], [HEAP, OLD])
    found = compared(one, one)
    assert found.moved_share == 0
    assert [each.words for each in found.changes] == [[], []]
