"""Each kernel of the recording format against its plain reference."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pghot.recording import checks, coarsen, encoding
from pghot.recording.regions import merge_regions
from pghot.recording.threads import stacked_counters, threads_added_up
from pghot.recording.trace import MemoryTrace, Region, SliceBatch, TraceInfo
from references.recording.checks import first_problem_reference
from references.recording.coarsen import merged_reference
from references.recording.encoding import join_planes_reference, sum_deltas_reference

Array = npt.NDArray[np.uint32]

u32 = hnp.arrays(np.uint32, st.integers(0, 60), elements=st.integers(0, 2**32 - 1))
small_u32 = st.integers(0, 5)


@st.composite
def batches(draw: st.DrawFn, pages: int = 40, nodes: int = 3, threads: int = 1) -> SliceBatch:
    """Valid batches with two caches: rows ascend, patterns <= misses <= touches, writes <= touches."""
    keys = draw(
        st.lists(
            st.lists(st.integers(0, pages * nodes * threads - 1), unique=True, max_size=12).map(sorted),
            max_size=6,
        )
    )
    flat = np.array([key for slice_keys in keys for key in slice_keys], np.int64)
    thread = (flat % threads).astype(np.uint16)
    flat //= threads
    high = draw(st.sampled_from([3, 2**32 - 1]))
    columns = [draw(hnp.arrays(np.uint32, len(flat), elements=st.integers(0, high))) for _ in range(7)]
    touches = columns[0]
    misses = np.minimum(columns[1], touches)
    sequential = np.minimum(columns[2], misses)
    strided = np.minimum(columns[4], misses - sequential)
    return SliceBatch(
        start_ns=np.arange(len(keys), dtype=np.uint64),
        instructions=np.ones(len(keys), np.uint64),
        offsets=np.cumsum([0, *map(len, keys)]).astype(np.int64),
        page=(flat // nodes).astype(np.uint32),
        touches=touches,
        misses=misses,
        sequential=sequential,
        writes=np.minimum(columns[3], touches),
        node=(flat % nodes).astype(np.int16),
        process=thread // np.uint16(2),
        thread=thread,
        strided=strided,
        dependent=np.minimum(columns[5], misses - sequential - strided),
        misses_by_cache=np.stack([misses, np.minimum(columns[6], touches)]),
    )


@given(u32)
def test_planes_and_carries_give_the_values_back(values: Array) -> None:
    low, high = encoding.split_planes(values)
    joined, reference = np.empty_like(values), np.empty_like(values)
    encoding.join_planes(low, high, joined)
    join_planes_reference(low, high, reference)
    np.testing.assert_array_equal(joined, reference)
    encoding.add_carries([joined], encoding.find_carries([values]))
    np.testing.assert_array_equal(joined, values)


@given(u32, st.integers(0, 3), st.data())
def test_carries_are_by_row_and_then_by_column(values: Array, small: int, data: st.DataObject) -> None:
    columns = [data.draw(st.permutations(values.tolist())) for _ in range(3)]
    columns[small % 3] = [value & 0xFFFF for value in columns[small % 3]]
    expected = [
        (row, column, int(columns[column][row]) >> 16)
        for row in range(len(values))
        for column in range(3)
        if columns[column][row] > 0xFFFF
    ]
    found = encoding.find_carries([np.array(column, np.uint32) for column in columns])
    assert (found.row.dtype, found.column.dtype, found.upper.dtype) == (np.int64, np.uint8, np.uint16)
    assert list(zip(found.row.tolist(), found.column.tolist(), found.upper.tolist(), strict=True)) == expected


@given(batches())
def test_deltas_are_undone(batch: SliceBatch) -> None:
    deltas = encoding.page_deltas(batch.page, batch.offsets)
    assert encoding.sum_deltas(deltas, batch.offsets) == -1
    np.testing.assert_array_equal(deltas, batch.page)


@given(u32, st.integers(0, 60))
def test_sum_deltas_equals_its_reference(deltas: Array, cut: int) -> None:
    offsets = np.array([0, min(cut, len(deltas)), len(deltas)], np.int64)
    fast, slow = deltas.copy(), deltas.copy()
    row = encoding.sum_deltas(fast, offsets)
    assert row == sum_deltas_reference(slow, offsets)
    np.testing.assert_array_equal(fast, slow)


@given(
    st.integers(0, 30).flatmap(
        lambda rows: st.tuples(*[hnp.arrays(np.uint32, rows, elements=st.integers(0, 3)) for _ in range(9)])
    ),
    st.data(),
)
def test_first_problem_equals_its_reference(columns: tuple[Array, ...], data: st.DataObject) -> None:
    page, process, thread, touches, writes, *rest = columns
    rows = len(page)
    node = data.draw(hnp.arrays(np.int16, rows, elements=st.integers(-1, 2)))
    offsets = np.array([0, data.draw(st.integers(0, rows)), rows], np.int64)
    ids = (process.astype(np.uint16), thread.astype(np.uint16))
    sequential, dependent, small, large = rest
    counters = (touches + 3, writes, sequential, small // 2, dependent, np.stack([small + 2, large]))
    found, expected = np.zeros(7, np.uint64), np.zeros(7, np.uint64)
    row, rule = checks.first_problem(offsets, page, node, *ids, *counters, 4, 2, found)
    assert (row, rule) == first_problem_reference(offsets, page, node, *ids, *counters, 4, 2, expected)
    if rule == 0:
        assert found.tolist() == expected.tolist()


@given(batches())
def test_valid_batches_have_no_problem(batch: SliceBatch) -> None:
    checks.check_batch(batch, 40, 3)


def assert_merged(merged: SliceBatch, batch: SliceBatch, folio_of: Array, cut: int) -> None:
    """`merged` has the sums of the rows of `batch` by (folio, node), and `cut` says how many did not fit."""
    expected, expected_cut = merged_reference(batch, folio_of)
    counters = stacked_counters(merged).T.tolist()
    for i, rows in enumerate(expected):
        begin, end = merged.offsets[i], merged.offsets[i + 1]
        pairs = list(zip(merged.page[begin:end].tolist(), merged.node[begin:end].tolist(), strict=True))
        assert pairs == list(rows)
        assert counters[begin:end] == list(rows.values())
    assert cut == expected_cut
    checks.check_batch(merged, 40, 3)


@given(batches(), hnp.arrays(np.uint32, 40, elements=st.integers(0, 9)))
def test_rows_are_merged_as_by_the_reference(batch: SliceBatch, folio_of: Array) -> None:
    info = TraceInfo("t", "test", 1, nodes=3, cache_bytes=(0, 1))
    coarse = coarsen.CoarseTrace(MemoryTrace(info, 40, (), [batch]), info, 10, (), folio_of)
    (merged,) = coarse.batches()
    assert_merged(merged, batch, folio_of, coarse.cut_rows)


@given(batches(threads=5))
def test_threads_are_added_up_as_by_the_reference(batch: SliceBatch) -> None:
    merged, cut = threads_added_up(batch)
    assert_merged(merged, batch, np.arange(40, dtype=np.uint32), cut)
    assert not merged.thread.any()
    assert not merged.process.any()


pieces = st.builds(
    lambda first, pages, space, base, name: Region(first, pages, space, (first + base) * 4096, name),
    st.integers(0, 30),
    st.integers(0, 8),
    st.integers(0, 1),
    st.sampled_from([0, 1000]),
    st.sampled_from(["[heap]", "[anon]"]),
)


@given(st.lists(pieces, max_size=12))
def test_merging_regions_changes_no_page(found: list[Region]) -> None:
    """Each dense page keeps the first name, space and address that were announced for it."""

    def by_page(regions: list[Region]) -> dict[int, tuple[int, str, int]]:
        table: dict[int, tuple[int, str, int]] = {}
        for r in regions:
            for i in range(r.pages):
                table.setdefault(r.first_page + i, (r.space, r.name, r.start_address + 4096 * i))
        return table

    merged = list(merge_regions(found, 4096))
    assert by_page(merged) == by_page(found)
    ends = [(r.first_page, r.first_page + r.pages) for r in merged]
    assert all(end <= begin for (_, end), (begin, _) in pairwise(ends))
    joinable = [
        (a, b)
        for a, b in pairwise(merged)
        if (a.first_page + a.pages, a.start_address + 4096 * a.pages, a.space, a.name)
        == (b.first_page, b.start_address, b.space, b.name)
    ]
    assert joinable == []
