"""Which cell a miss lands in, which rows are joined, folded and left out: worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders.small_recordings import missing, recorded
from pghot.recording.address_rows import FineRows
from pghot.recording.heat import Heat, HeatMap, Measure, measure_of
from pghot.recording.reader import Recording
from pghot.recording.spans import spans_of
from pghot.recording.time_bins import at_most
from pghot.recording.totals import PageTotals, read_once
from pghot.recording.trace import MemoryKind, Region

HEAP = Region(0, 4, 0, 0x10000, "[heap]", MemoryKind.HEAP)
LIBC = Region(4, 2, 0, 0x8000, "/lib/libc.so.6", MemoryKind.FILE)


def mapped(recording: Recording, rows: int, bins: int = 1000, measure: Measure = "misses") -> HeatMap:
    totals, heat = PageTotals(recording.pages), Heat(recording, measure, at_most(recording, bins))
    read_once(recording, totals, heat)
    return heat.map(totals, rows)


def test_a_miss_lands_in_the_row_of_its_page_and_the_bin_of_its_slice(tmp_path: Path) -> None:
    slices = [missing((0, 1), (4, 2)), missing((1, 3)), missing((0, 5), (5, 7)), missing((1, 11))]
    found = mapped(recorded(tmp_path / "a.pghot", slices, [HEAP, LIBC]), rows=10, bins=2)
    # libc lies below the heap. Four slices in two bins: the first two, the last two. Pages 2 and 3 were not touched.
    assert [(row.name, row.start_address, row.end_address) for row in found.rows] == [
        ("/lib/libc.so.6", 0x8000, 0x9000),
        ("/lib/libc.so.6", 0x9000, 0xA000),
        ("[heap]", 0x10000, 0x11000),
        ("[heap]", 0x11000, 0x12000),
    ]
    assert found.cells.tolist() == [[2, 0], [0, 7], [1, 5], [3, 11]]
    assert [row.heat for row in found.rows] == [2, 7, 6, 14]
    assert found.time.bin_ns == 2_000_000
    # From 0xa000 to 0x10000 nothing was touched.
    assert [row.gap_bytes for row in found.rows] == [None, 0, 0x6000, 0]


def test_rows_that_do_not_fit_are_joined(tmp_path: Path) -> None:
    slices = [missing((0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (5, 32))]
    recording = recorded(tmp_path / "a.pghot", slices, [HEAP, LIBC])
    # By two: libc's pages 4 and 5 in one row, the heap's in two.
    assert mapped(recording, rows=3).cells.tolist() == [[48], [3], [12]]
    # Three rows are too many for two, so they are joined by three: libc has too few pages for a row of its own.
    found = mapped(recording, rows=2)
    assert len(found.rows) <= 2
    assert found.cells.sum() == 63


def test_small_regions_share_a_row_and_the_hottest_names_it(tmp_path: Path) -> None:
    small = [Region(p, 1, 0, 0x1000 * (2 * p + 1), f"/lib/{p}.so", MemoryKind.FILE) for p in range(4)]
    recording = recorded(tmp_path / "a.pghot", [missing((0, 5), (1, 9), (2, 5), (3, 5))], small)
    (row,) = mapped(recording, rows=1).rows
    assert (row.name, row.regions, row.pages, row.heat) == ("/lib/1.so", 4, 4, 24)
    assert (row.start_address, row.end_address) == (0x3000, 0x4000), "of the one that names it"


def test_four_cold_rows_in_succession_are_folded_into_one_and_three_are_not(tmp_path: Path) -> None:
    """Cold is below a tenth of the mean of a touched page."""
    heap = Region(0, 8, 0, 0x10000, "[heap]", MemoryKind.HEAP)
    # 3 x 100 + 5 x 4 = 320 misses over 8 pages: 40 is the mean, 4 its tenth, and 4 is not below it.
    just_warm = [missing((0, 100), (1, 4), (2, 4), (3, 4), (4, 4), (5, 4), (6, 100), (7, 100))]
    assert len(mapped(recorded(tmp_path / "a.pghot", just_warm, [heap]), 99).rows) == 8
    # 3 x 100 + 4 x 3 + 4 = 316: 3.95 is the tenth. Pages 1 to 4 are below it, 5 is not.
    four = [missing((0, 100), (1, 3), (2, 3), (3, 3), (4, 3), (5, 4), (6, 100), (7, 100))]
    found = mapped(recorded(tmp_path / "b.pghot", four, [heap]), 99)
    assert [(row.folded, row.pages, row.heat) for row in found.rows] == [
        (False, 1, 100), (True, 4, 12), (False, 1, 4), (False, 1, 100), (False, 1, 100),
    ]  # fmt: skip
    assert found.cells.tolist() == [[100], [12], [4], [100], [100]], "what is cold is still counted"
    three = [missing((0, 100), (1, 3), (2, 3), (3, 3), (4, 4), (5, 4), (6, 100), (7, 100))]
    assert not any(row.folded for row in mapped(recorded(tmp_path / "c.pghot", three, [heap]), 99).rows)


def test_time_in_which_nobody_looked_is_told_from_time_without_misses(tmp_path: Path) -> None:
    slices = [missing((0, 1)), {}, missing((0, 2))]
    found = mapped(recorded(tmp_path / "a.pghot", slices, [HEAP], gap=2), rows=9)
    assert found.cells.tolist() == [[1, 0, 0, 0, 2]]
    assert found.recorded.tolist() == [True, True, False, False, True]


def test_heat_is_touches_where_no_misses_were_recorded_and_writes_when_asked(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "a.pghot", [{(0, 0): (5, 0, 2), (1, 0): (3, 0, 0)}], [HEAP])
    assert measure_of(recording) == "touches"
    assert mapped(recording, 9, measure="touches").cells.tolist() == [[5], [3]]
    assert mapped(recording, 9, measure="writes").cells.tolist() == [[2], [0]]


def test_nothing_touched_makes_no_rows(tmp_path: Path) -> None:
    assert mapped(recorded(tmp_path / "a.pghot", [{}], [HEAP]), rows=9).rows == ()


@st.composite
def layouts(draw: st.DrawFn) -> list[Region]:
    """Regions of 1 to 9 pages each in one or two spaces, with dense pages that no region has between them."""
    regions, page, address = [], 0, 1
    for number in range(draw(st.integers(1, 12))):
        page += draw(st.integers(0, 2))
        address += draw(st.integers(0, 3))
        pages = draw(st.integers(1, 9))
        space = draw(st.integers(0, 1))
        regions.append(Region(page, pages, space, address << 12, f"r{number}"))
        page, address = page + pages, address + pages
    return draw(st.permutations(regions))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    regions=layouts(),
    most=st.integers(1, 40),
    bins=st.integers(1, 9),
    fine=st.integers(1, 64),
    data=st.data(),
)
def test_nothing_is_lost_whatever_is_joined_and_folded(
    tmp_path: Path, regions: list[Region], most: int, bins: int, fine: int, data: st.DataObject
) -> None:
    pages = max(region.first_page + region.pages for region in regions)
    counts = st.tuples(st.integers(0, pages - 1), st.sampled_from([0, 1, 2, 1000]))
    slices = [
        missing(*data.draw(st.lists(counts, max_size=20, unique_by=lambda each: each[0]))) for _ in range(7)
    ]
    path = tmp_path / "any.pghot"
    path.unlink(missing_ok=True)
    recording = recorded(path, slices, regions)
    totals, heat = PageTotals(recording.pages), Heat(recording, "misses", at_most(recording, bins))
    heat._fine = FineRows(spans_of(recording.regions, recording.pages), recording.pages, fine)
    assert heat._fine.rows <= max(1, fine)
    read_once(recording, totals, heat)
    found = heat.map(totals, most)
    assert found.cells.sum() == recording.total_misses
    assert len(found.rows) <= most
    assert sum(row.pages for row in found.rows) == recording.footprint_pages
    assert found.cells.sum(axis=1).tolist() == [row.heat for row in found.rows]
    each = found.time.bin_ns // 1_000_000
    by_bin = np.zeros(found.time.bins, np.int64)
    for number, rows in enumerate(slices):
        by_bin[number // each] += sum(misses for _, misses, _ in rows.values())
    assert found.cells.sum(axis=0).tolist() == by_bin.tolist()
