"""The kernels that add up a recording for its reports, each against its plain reference."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from builders.small_recordings import Rows, batch_of
from pghot.recording import activity, address_rows, heat, hot_curve, working_set
from references.recording.activity import add_activity_reference
from references.recording.address_rows import parts_reference, rows_reference
from references.recording.heat import add_cells_reference
from references.recording.working_set import fewest_reference, window_reference

PAGES = 12
large = st.sampled_from([0, 1, 3, 2**32 - 1])
rows_of_a_slice = st.dictionaries(
    st.tuples(st.integers(0, PAGES - 1), st.integers(0, 3)), st.tuples(large, large, large), max_size=15
)
slices_of = st.lists(rows_of_a_slice, min_size=1, max_size=6)


@given(slices_of, st.lists(st.integers(0, 4), min_size=PAGES, max_size=PAGES), st.integers(1, 3))
def test_cells(slices: list[Rows], row_of_page: list[int], each: int) -> None:
    batch, of_page = batch_of(slices), np.array(row_of_page, np.uint32)
    bins = np.arange(len(slices)) // each
    fast, slow = (np.zeros((len(slices), 5), np.uint64) for _ in range(2))
    heat.add_cells(batch.offsets, bins, batch.page, batch.misses, of_page, fast)
    add_cells_reference(batch.offsets, bins, batch.page, batch.misses, of_page, slow)
    np.testing.assert_array_equal(fast, slow)


@given(slices_of, st.integers(0, 3))
def test_windows(slices: list[Rows], before: int) -> None:
    """The window before left its mark on every page, and no misses."""
    batch = batch_of(slices)
    seen = np.full(PAGES, before, np.int32)
    misses, listed = np.zeros(PAGES, np.uint64), np.zeros(PAGES, np.uint32)
    count = working_set.list_pages(batch.page, batch.misses, before + 1, seen, misses, listed, 0)
    expected = window_reference(batch.page, batch.misses)
    assert listed[:count].tolist() == list(expected)
    assert misses[listed[:count]].tolist() == list(expected.values())
    assert misses.sum() == sum(expected.values())


@given(slices_of, st.integers(1, 4), st.integers(1, 3))
def test_activities(slices: list[Rows], threads: int, each: int) -> None:
    batch, bins = batch_of(slices), np.arange(len(slices)) // each
    names = (np.arange(PAGES) % 3).astype(np.uint16)
    amounts = np.stack([batch.touches, batch.misses, batch.writes])
    by_region = np.zeros((3, len(slices), 3), np.uint64)
    by_thread = np.zeros((3, len(slices), threads), np.uint64)
    at_work, threads_at_work = np.zeros((3, threads), np.int64), np.zeros((len(slices), 3), np.int64)
    activity.add_activity(
        batch.offsets, bins, batch.page, batch.thread, amounts, names, by_region, by_thread, at_work,
        threads_at_work,
    )  # fmt: skip
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
