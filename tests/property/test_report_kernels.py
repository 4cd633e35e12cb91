"""The kernels that add up a recording for its reports, each against its plain reference."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from builders.small_recordings import batch_of
from pghot.recording import activity, address_rows, heat, hot_curve, life, totals, working_set
from pghot.recording.run_batch import RunBatch, stretch_ends
from pghot.recording.trace import SliceBatch
from references.recording.activity import add_activity_reference
from references.recording.address_rows import parts_reference, rows_reference
from references.recording.heat import add_cells_reference
from references.recording.life import add_life_reference
from references.recording.run_batch import by_page_reference
from references.recording.totals import add_rows_reference
from references.recording.working_set import fewest_reference, window_reference

PAGES = 12
large = st.sampled_from([0, 1, 3, 2**32 - 1])
rows_of_a_slice = st.dictionaries(
    st.tuples(st.integers(0, PAGES - 1), st.integers(0, 3)), st.tuples(large, large, large), max_size=15
)
slices_of = st.lists(rows_of_a_slice, min_size=1, max_size=6)


@st.composite
def runs_of(draw: st.DrawFn) -> RunBatch:
    """Rows of one page or several, which may overlap."""
    batch = batch_of(draw(slices_of))
    most = draw(st.sampled_from([1, 3, PAGES]))
    pages = [draw(st.integers(1, min(most, PAGES - page))) for page in batch.page.tolist()]
    return RunBatch(batch, np.array(pages, np.uint32))


def unrolled(runs: RunBatch) -> SliceBatch:
    return by_page_reference(runs.rows, runs.pages.tolist())


@given(runs_of(), st.lists(st.integers(0, 4), min_size=PAGES, max_size=PAGES), st.integers(1, 3))
def test_cells(runs: RunBatch, row_of_page: list[int], each: int) -> None:
    batch, of_page = runs.rows, np.array(row_of_page, np.uint32)
    bins = np.arange(batch.slices) // each
    fast, slow = (np.zeros((batch.slices, 5), np.uint64) for _ in range(2))
    ends = stretch_ends(of_page)
    heat.add_cells(batch.offsets, bins, batch.page, runs.pages, batch.misses, of_page, ends, fast)
    batch = unrolled(runs)
    add_cells_reference(batch.offsets, bins, batch.page, batch.misses, of_page, slow)
    np.testing.assert_array_equal(fast, slow)


@given(runs_of(), st.integers(0, 3))
def test_windows(runs: RunBatch, before: int) -> None:
    """The window before left its mark on every page, and nothing else; nor does this one."""
    batch = runs.rows
    seen, edges = np.full(PAGES + 1, before, np.int32), np.zeros(PAGES + 1, np.uint32)
    rows, misses = np.zeros(PAGES + 1, np.int64), np.zeros(PAGES + 1, np.uint64)
    count = working_set.list_edges(
        batch.page, runs.pages, batch.misses, before + 1, seen, rows, misses, edges, 0
    )
    pages, each = np.zeros(count, np.int64), np.zeros(count, np.uint64)
    found = working_set.between_edges(np.sort(edges[:count]), rows, misses, pages, each)
    batch = unrolled(runs)
    expected = window_reference(batch.page, batch.misses)
    pieces = zip(pages[:found].tolist(), each[:found].tolist(), strict=True)
    assert [count for number, count in pieces for _ in range(number)] == [
        expected[page] for page in sorted(expected)
    ]
    assert not rows.any()
    assert not misses.any()


@given(runs_of(), st.integers(1, 4), st.integers(1, 3))
def test_activities(runs: RunBatch, threads: int, each: int) -> None:
    batch, slices = runs.rows, range(runs.rows.slices)
    bins = np.arange(len(slices)) // each
    names = (np.arange(PAGES) % 3).astype(np.uint16)
    amounts = np.stack([batch.touches, batch.misses, batch.writes])
    by_region = np.zeros((3, len(slices), 3), np.uint64)
    by_thread = np.zeros((3, len(slices), threads), np.uint64)
    at_work, threads_at_work = np.zeros((3, threads), np.int64), np.zeros((len(slices), 3), np.int64)
    activity.add_activity(
        batch.offsets, bins, batch.page, runs.pages, batch.thread, amounts, names, stretch_ends(names), by_region,
        by_thread, at_work, threads_at_work,
    )  # fmt: skip
    batch = unrolled(runs)
    amounts = np.stack([batch.touches, batch.misses, batch.writes])
    regions, tasks, who = add_activity_reference(
        batch.offsets, bins, batch.page, batch.thread, amounts, names, threads
    )
    assert {tuple(at): by_region[tuple(at)] for at in np.argwhere(by_region)} == {
        k: v for k, v in regions.items() if v
    }
    assert {tuple(at): by_thread[tuple(at)] for at in np.argwhere(by_thread)} == {
        k: v for k, v in tasks.items() if v
    }
    assert {tuple(at): threads_at_work[tuple(at)] for at in np.argwhere(threads_at_work)} == who


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.integers(1, 12))
def test_rows(sizes: list[int], each: int) -> None:
    first_row, lengths = np.zeros(len(sizes), np.int64), np.array(sizes, np.int64)
    rows = int(address_rows.lay_out(lengths, each, first_row))
    of_page = np.zeros(sum(sizes), np.uint32)
    firsts = np.cumsum([0, *sizes[:-1]])
    address_rows.number_pages(firsts, lengths, first_row, each, of_page)
    expected = rows_reference(sizes, each)
    assert rows == len(expected)
    pages = [(span, item) for span, size in enumerate(sizes) for item in range(size)]
    found: list[list[tuple[int, int]]] = [[] for _ in range(rows)]
    for page, row in zip(pages, of_page.tolist(), strict=True):
        found[row].append(page)
    assert found == expected


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 9)), min_size=16, max_size=16),
)
def test_parts(sizes: list[int], pages: list[tuple[int, int, int]]) -> None:
    steps, touches, warmth = zip(*pages, strict=True)
    row_of_page = np.cumsum(steps)
    firsts = np.cumsum([0, *sizes[:-1]])
    parts = np.zeros((6, len(sizes) + int(row_of_page[-1]) + 1), np.int64)
    found = address_rows.find_parts(
        firsts, np.array(sizes), row_of_page, np.array(warmth, np.uint64), np.array(touches, np.uint64), parts
    )
    spans = list(zip(firsts.tolist(), sizes, strict=True))
    expected = parts_reference(spans, row_of_page.tolist(), list(warmth), list(touches))
    assert {(row, span): tuple(rest) for row, span, *rest in parts[:, :found].T.tolist()} == expected


@given(st.lists(st.integers(0, 50), max_size=20))
def test_what_takes_most(misses: list[int]) -> None:
    found = hot_curve.fewest_taking(np.array(misses, np.uint64), working_set.PERCENTS)
    assert found == [fewest_reference(misses, percent) for percent in working_set.PERCENTS]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), max_size=12))
def test_what_takes_most_of_pieces_of_several_pages(pieces: list[tuple[int, int]]) -> None:
    misses = np.array([each for each, _ in pieces], np.uint64)
    found = hot_curve.fewest_taking(
        misses, working_set.PERCENTS, np.array([pages for _, pages in pieces], np.int64)
    )
    flat = [each for each, pages in pieces for _ in range(pages)]
    assert found == [fewest_reference(flat, percent) for percent in working_set.PERCENTS]


@given(runs_of())
def test_totals(runs: RunBatch) -> None:
    found = totals.PageTotals(PAGES)
    found.add(runs)
    found.add(runs)
    slow = np.zeros((3, PAGES), np.uint64)
    batch = unrolled(runs)
    add_rows_reference(batch.page, batch.touches, batch.misses, batch.writes, slow)
    np.testing.assert_array_equal(np.stack([found.touches, found.misses, found.writes]), 2 * slow)


@given(runs_of(), st.lists(st.booleans(), min_size=PAGES, max_size=PAGES), st.integers(1, 4))
def test_a_life(runs: RunBatch, own: list[bool], each: int) -> None:
    batch, chosen = runs.rows, np.array(own)
    bins = np.arange(batch.slices) // each
    counts, touched = np.zeros((3, batch.slices), np.uint64), np.zeros(batch.slices, np.bool_)
    amounts = np.stack([batch.touches, batch.misses, batch.writes])
    life.add_life(batch.offsets, bins, batch.page, runs.pages, amounts, chosen, counts, touched)
    batch = unrolled(runs)
    amounts = np.stack([batch.touches, batch.misses, batch.writes])
    expected, slices = add_life_reference(batch.offsets, bins, batch.page, amounts, chosen)
    assert {tuple(at): counts[tuple(at)] for at in np.argwhere(counts)} == {
        key: count for key, count in expected.items() if count
    }
    assert set(np.flatnonzero(touched).tolist()) == slices


@given(st.lists(st.integers(0, 2), max_size=20))
def test_stretches(of_page: list[int]) -> None:
    expected = [
        next((at for at in range(page, len(of_page)) if of_page[at] != of_page[page]), len(of_page))
        for page in range(len(of_page))
    ]
    assert stretch_ends(np.array(of_page, np.uint32)).tolist() == expected
