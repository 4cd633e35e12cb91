"""One of several recorded caches: its misses, and its share of the patterns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.recordings import INFO, REGIONS, all_slices, assert_same_slices, random_trace
from pghot.recording.caches import share_out, with_cache
from pghot.recording.coarsen import CoarseTrace, coarsen
from pghot.recording.trace import MemoryTrace, SliceBatch

THREE = replace(INFO, llc_bytes=1 << 18, cache_bytes=(1 << 18, 1 << 20, 1 << 22))


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (1, 1 << 18),
        (0, 1 << 18),
        ((1 << 19) - 1, 1 << 18),
        ((1 << 19) + 1, 1 << 20),
        (1 << 21, 1 << 20),
        (1e12, 1 << 22),
    ],
)
def test_the_nearest_cache_by_ratio(asked: float, given: int) -> None:
    """512 KiB is half way between 256 KiB and 1 MiB; of two as near, the smaller one."""
    chosen = with_cache(random_trace(info=THREE, caches=3), asked)
    assert (chosen.info.llc_bytes, chosen.info.cache_bytes) == (given, (given,))


def test_a_trace_with_one_cache_has_no_choice() -> None:
    trace = random_trace()
    assert with_cache(trace, 1 << 30) is trace


def test_the_misses_are_those_of_the_cache_and_all_else_stays() -> None:
    trace = random_trace(parts=2, info=THREE, caches=3, rows=200)
    whole, chosen = all_slices(trace), all_slices(with_cache(trace, 4 << 20))
    assert chosen.misses.tolist() == whole.misses_by_cache[2].tolist()
    assert chosen.misses_by_cache.tolist() == [chosen.misses.tolist()]
    for name in ("start_ns", "offsets", "page", "node", "touches", "writes", "instructions"):
        np.testing.assert_array_equal(getattr(chosen, name), getattr(whole, name))
    assert with_cache(trace, 4 << 20).regions == REGIONS


def test_the_smallest_cache_is_the_recording_as_it_was_counted() -> None:
    trace = random_trace(parts=2, info=THREE, caches=3)
    first, whole = all_slices(with_cache(trace, 1)), all_slices(trace)
    assert_same_slices(replace(first, misses_by_cache=whole.misses_by_cache), whole)


def rows_of_one_kind(rows: int, misses: tuple[int, int], patterns: tuple[int, int, int]) -> MemoryTrace:
    """A slice of equal rows with two caches."""
    small, large = (np.full(rows, count, np.uint32) for count in misses)
    sequential, strided, dependent = (np.full(rows, count, np.uint32) for count in patterns)
    batch = SliceBatch(
        start_ns=np.zeros(1, np.uint64),
        instructions=np.ones(1, np.uint64),
        offsets=np.array([0, rows], np.int64),
        page=np.arange(rows, dtype=np.uint32),
        touches=small,
        misses=small,
        sequential=sequential,
        writes=np.zeros(rows, np.uint32),
        node=np.zeros(rows, np.int16),
        strided=strided,
        dependent=dependent,
        misses_by_cache=np.stack([small, large]),
    )
    info = replace(INFO, llc_bytes=1 << 18, cache_bytes=(1 << 18, 1 << 20))
    return MemoryTrace(info, rows, (), [batch])


def test_shares_that_are_whole_are_exact() -> None:
    """8 misses of which 4 sequential, 2 strided, 1 dependent; the larger cache has 16 or 8 of them."""
    batch = all_slices(with_cache(rows_of_one_kind(5, (16, 8), (8, 4, 2)), 1 << 20))
    assert batch.sequential.tolist() == [4] * 5
    assert batch.strided.tolist() == [2] * 5
    assert batch.dependent.tolist() == [1] * 5


def test_many_rows_with_one_miss_each_keep_the_shares() -> None:
    """3 misses, one of each kind; the larger cache has 1. Over 3000 rows each kind has 1000 of the 3000 misses."""
    batch = all_slices(with_cache(rows_of_one_kind(3000, (3, 1), (1, 1, 1)), 1 << 20))
    sums = [int(column.sum()) for column in (batch.sequential, batch.strided, batch.dependent)]
    assert sum(sums) == 3000
    assert all(990 <= each <= 1010 for each in sums)


def test_a_page_that_only_the_larger_cache_missed_has_no_pattern() -> None:
    batch = all_slices(with_cache(rows_of_one_kind(2, (0, 5), (0, 0, 0)), 1 << 20))
    assert batch.misses.tolist() == [5, 5]
    assert not (batch.sequential + batch.strided + batch.dependent).any()


u32 = st.integers(0, 2**32 - 1)


@settings(max_examples=200)
@given(u32, u32, st.lists(u32, min_size=3, max_size=3), st.integers(0, 10**6))
def test_shares_are_floor_or_ceiling_and_stay_among_the_misses(
    counted: int, misses: int, cuts: list[int], first_row: int
) -> None:
    ends = np.sort(np.array(cuts, np.uint64) % np.uint64(counted + 1))
    patterns = np.diff(ends, prepend=np.uint64(0)).astype(np.uint32)[:, None]
    share_out(np.array([counted], np.uint32), np.array([misses], np.uint32), first_row, patterns)
    sums = np.cumsum(patterns[:, 0].astype(np.uint64)).tolist()
    for end, found in zip(ends.tolist(), sums, strict=True):
        exact = (end * misses, counted) if counted else (0, 1)
        assert exact[0] // exact[1] <= found <= -(-exact[0] // exact[1])
    assert sums[-1] <= misses


def test_a_regrouped_trace_stays_regrouped() -> None:
    trace = random_trace(parts=2, info=THREE, caches=3)
    chosen = with_cache(coarsen(trace, 1 << 21), 4 << 20)
    assert isinstance(chosen, CoarseTrace)
    assert (chosen.info.page_bytes, chosen.info.llc_bytes) == (1 << 21, 4 << 20)
    assert all_slices(chosen).misses.sum() == all_slices(trace).misses_by_cache[2].sum()
