"""The LRU and CLOCK bounds equal their plain references, whole, in parts and over traces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pghot.errors import UsageError
from pghot.lab import bounds
from pghot.recording.trace import MemoryTrace, SliceBatch, TraceInfo
from references.lab.bounds import clock_misses_reference, lru_misses_reference

PAGES = 12
streams = st.lists(st.integers(0, PAGES - 1), max_size=200).map(lambda pages: np.array(pages, np.uint32))


@given(streams, st.integers(1, PAGES + 1))
@settings(max_examples=200)
def test_bounds_equal_their_references(pages, capacity):
    assert bounds.lru_misses(pages, capacity, PAGES) == lru_misses_reference(pages, capacity)
    assert bounds.clock_misses(pages, capacity, PAGES) == clock_misses_reference(pages, capacity)


@given(st.lists(streams, min_size=2, max_size=4), st.integers(1, PAGES))
@settings(max_examples=50)
def test_caches_fed_in_parts_equal_the_whole(parts, capacity):
    whole = np.concatenate(parts)
    lru, clock = bounds.LruCache(capacity, PAGES), bounds.ClockCache(capacity, PAGES)
    assert sum(lru.feed(part) for part in parts) == lru_misses_reference(whole, capacity)
    assert sum(clock.feed(part) for part in parts) == clock_misses_reference(whole, capacity)


rows = st.dictionaries(st.integers(0, PAGES - 1), st.integers(0, 5), max_size=PAGES)


def batch_of(slices: list[dict[int, int]]) -> SliceBatch:
    page = np.array([p for part in slices for p in sorted(part)], np.uint32)
    misses = np.array([part[p] for part in slices for p in sorted(part)], np.uint32)
    zero = np.zeros(len(page), np.uint32)
    offsets = np.cumsum([0, *(len(part) for part in slices)])
    clock = np.arange(len(slices), dtype=np.uint64)
    return SliceBatch(
        clock, clock, offsets, page, misses + 7, misses, zero, zero, np.zeros(len(page), np.int16)
    )


@given(st.lists(st.lists(rows, min_size=1, max_size=4), min_size=1, max_size=3), st.integers(1, PAGES))
@settings(max_examples=50)
def test_trace_bounds_equal_the_expanded_stream(parts, capacity):
    trace = MemoryTrace(TraceInfo("t", "test", 1), PAGES, (), [batch_of(part) for part in parts])
    stream = np.array(
        [p for part in parts for row in part for p in sorted(row) for _ in range(row[p])], np.uint32
    )
    found = bounds.trace_bounds(trace, capacity)
    assert found.requests == len(stream)
    assert found.lru_misses == lru_misses_reference(stream, capacity)
    assert found.clock_misses == clock_misses_reference(stream, capacity)


def test_a_cache_without_pages_is_refused():
    with pytest.raises(UsageError, match="0 pages"):
        bounds.lru_misses(np.zeros(1, np.uint32), 0, 1)
