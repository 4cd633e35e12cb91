"""The hot ranges of regions and the hot-set curve, worked by hand."""

from __future__ import annotations

import numpy as np

from pghot.recording.hot_curve import hot_curve, ladder
from pghot.recording.hot_ranges import HotRange, hot_ranges
from pghot.recording.spans import spans_of
from pghot.recording.trace import Region


def test_hot_pages_far_apart_are_ranges_of_their_own() -> None:
    regions = [Region(0, 1025, 0, 0x100000, "[anon]"), Region(1025, 4, 0, 0x8000000, "[stack]")]
    misses = np.zeros(1030, np.uint64)
    # 100 misses in all: 90 of them are 40 + 30 + 20, so the page with 6 is cold, and so is that with 4.
    misses[[3, 5, 5 + 512, 1024, 1026]] = 40, 6, 4, 20, 30
    touches = misses + np.uint64(1)
    assert hot_ranges(spans_of(regions, 1030), misses, touches, 4096) == [
        HotRange(0, 0x100000 + 3 * 4096, 0x100000 + 4 * 4096, "[anon]", "anon", 1, 1, 40),
        HotRange(0, 0x8001000, 0x8002000, "[stack]", "anon", 1, 1, 30),
        HotRange(0, 0x100000 + 1024 * 4096, 0x100000 + 1025 * 4096, "[anon]", "anon", 1, 1, 20),
    ]


def test_a_stretch_shorter_than_a_huge_page_does_not_part_a_range() -> None:
    def parts(cold_pages: int) -> list[HotRange]:
        misses = np.zeros(cold_pages + 2, np.uint64)
        misses[[0, -1]] = 10
        region = Region(0, cold_pages + 2, 0, 0x200000, "[heap]")
        return hot_ranges(spans_of([region], cold_pages + 2), misses, np.ones_like(misses), 4096)

    (one,) = parts(511)
    assert (one.pages, one.hot_pages, one.misses) == (513, 2, 20)
    assert len(parts(512)) == 2


def test_addresses_decide_and_not_dense_pages() -> None:
    """Two mappings of one name are one region: here 2 MiB and a page lie between them."""
    regions = [Region(0, 1, 0, 0x1000, "[anon]"), Region(1, 1, 0, 0x203000, "[anon]")]
    counts = np.array([5, 5], np.uint64)
    assert len(hot_ranges(spans_of(regions, 2), counts, counts, 4096)) == 2


def test_pages_of_no_region_have_no_address_and_nothing_hot_has_no_range() -> None:
    counts = np.array([5, 0], np.uint64)
    (one,) = hot_ranges(spans_of([], 2), counts, counts, 4096)
    assert (one.start_address, one.end_address, one.name) == (None, None, "[no region]")
    assert hot_ranges(spans_of([], 2), np.zeros(2, np.uint64), counts, 4096) == []


def test_the_curve_takes_the_hottest_first() -> None:
    misses = np.array([1, 0, 6, 3], np.uint64)
    assert hot_curve(misses, np.arange(5)).tolist() == [0.0, 0.6, 0.9, 1.0, 1.0]
    assert hot_curve(np.zeros(4, np.uint64), np.arange(5)).tolist() == [0.0] * 5
    assert ladder(10, 3).tolist() == [1, 1, 10], "at least a page"
