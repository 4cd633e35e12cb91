"""DAMON in figures worked by hand: how often a look hits, when it reports, and how regions merge and split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pghot.errors import UsageError
from pghot.sim.sources.damon import Damon, merge_regions, split_regions
from pghot.sim.sources.simulated_source import SliceView, SourceSettings
from references.sim.sources.damon import merge_reference, split_reference


def view(
    touched: dict[int, int], now_ms: float, dt_ms: float, pages: int, group_pages: float = 1.0
) -> SliceView:
    """A slice that ends at `now_ms`; these are kernel times. All pages are on node 1."""
    page = np.array(sorted(touched), np.uint32)
    touches = np.array([touched[p] for p in sorted(touched)], np.uint32)
    none = np.zeros(len(page), np.uint32)
    return SliceView(
        page, touches, touches, none, none, np.zeros(len(page), np.int16), np.ones(pages, np.uint8),
        np.array([False, True]), now_ms, dt_ms * 1e6 / group_pages, 1, 0,
    )  # fmt: skip


def damon_of(pages: int, seed: int = 0, group_pages: float = 1.0, **options: float) -> Damon:
    return Damon(SourceSettings(pages, 4096, 2, group_pages=group_pages, seed=seed), **options)  # type: ignore[arg-type]


def test_limits_that_depend_on_each_other() -> None:
    damon_of(9, sample_ms=5, aggregate_ms=5, min_regions=3, max_regions=3)
    for wrong in ({"aggregate_ms": 4.9}, {"min_regions": 2}, {"max_regions": 9}, {"min_regions": 1_001}):
        with pytest.raises(UsageError, match=f"damon.{next(iter(wrong))}|damon.max_regions"):
            damon_of(9, **wrong)


def test_what_is_touched_all_the_time_has_20_hits_and_what_is_not_is_not_reported() -> None:
    """Of 20 pages 10 have 1,000 touches in 100 ms. 10 regions of two pages each; one half is hot."""
    subject = damon_of(20)
    report = subject.observe(view(dict.fromkeys(range(10), 1_000), 100, 100, 20))
    assert report.accesses.page.tolist() == list(range(10))
    assert report.accesses.count.tolist() == [20] * 10
    assert report.accesses.node.tolist() == [-1] * 10
    assert report.kernel_ns == 20 * 10 * 200, "20 looks at a page of each of 10 regions"
    assert report.app_ns == 20 * 5 * 200, "and the CPU sets the bits of 5 of them again"


def test_a_look_hits_if_one_of_the_touches_falls_into_its_5_ms() -> None:
    """10 touches in 100 ms: 1 - 0.95 ** 10 = 0.4013 of the looks, so 8.03 of 20. 3 pages and as many regions."""
    subject = damon_of(3, min_regions=3)
    counts = []
    for at in range(1, 401):
        seen = subject.observe(view({1: 10}, 100 * at, 100, 3)).accesses
        assert set(seen.page.tolist()) <= {1}
        counts.append(int(seen.count.sum()))
    assert np.mean(counts) == pytest.approx(8.03, abs=0.25)


def test_hits_of_several_slices_add_up_until_100_ms_are_over() -> None:
    """Slices of 30 ms: the aggregation ends in the fourth, which begins the next one with 4 looks."""
    subject = damon_of(3, min_regions=3)
    for at in (30, 60, 90):
        assert len(subject.observe(view({1: 1_000}, at, 30, 3)).accesses) == 0
    assert subject.hits.tolist() == [0, 18, 0]
    seen = subject.observe(view({1: 1_000}, 120, 30, 3)).accesses
    assert (seen.page.tolist(), seen.count.tolist()) == ([1], [20])
    assert subject.hits.tolist() == [0, 4, 0]


def test_a_slice_without_a_look_and_a_busy_thread_see_nothing() -> None:
    subject = damon_of(3, min_regions=3)
    report = subject.observe(view({1: 1_000}, 4.9, 2, 3))
    assert (len(report.accesses), report.kernel_ns, report.app_ns) == (0, 0.0, 0.0)
    busy = view({1: 1_000}, 100, 100, 3)
    busy.busy = True
    assert subject.observe(busy).kernel_ns == 0.0


def test_a_long_slice_has_ten_aggregations_and_reports_the_last() -> None:
    report = damon_of(20).observe(view(dict.fromkeys(range(20), 1), 10_000, 10_000, 20))
    assert report.kernel_ns <= 10 * 20 * 20 * 200
    assert report.kernel_ns >= 10 * 20 * 10 * 200


def test_in_a_group_the_looks_are_those_of_the_real_system() -> None:
    """The machine's clock runs 50 times slower, so the looks of 100 kernel ms cost it a fiftieth."""
    subject = damon_of(20, group_pages=50)
    report = subject.observe(view(dict.fromkeys(range(10), 1_000), 100, 100, 20, group_pages=50))
    assert report.kernel_ns == 20 * 10 * 200 / 50
    assert report.app_ns == 20 * 5 * 200 / 50
    assert subject.tracker_bytes() == 1_000 * 64 / 50


def test_regions_find_the_hot_tenth() -> None:
    """Of 1,000 pages the hundred from 437 on are touched. After 5 s it reports these and few others."""
    subject = damon_of(1_000)
    for at in range(1, 51):
        seen = subject.observe(view(dict.fromkeys(range(437, 537), 1_000), 100 * at, 100, 1_000)).accesses
    found = set(seen.page[seen.count >= 10].tolist())
    hot = set(range(437, 537))
    assert len(found & hot) >= 90
    assert len(found - hot) <= 20


def test_neighbours_merge_that_differ_by_the_threshold_or_less() -> None:
    """20 and 18 of ten pages each are 19 of twenty; 3 differs by more. A limit of 15 pages keeps all apart."""
    for most, expected in ((100, [(0, 20, 19), (20, 30, 3)]), (15, [(0, 10, 20), (10, 20, 18), (20, 30, 3)])):
        start, hits = np.array([0, 10, 20, 30]), np.array([20, 18, 3], np.int32)
        left = merge_regions(start, hits, 3, 2, most)
        assert [(*start[each : each + 2].tolist(), int(hits[each])) for each in range(left)] == expected


def test_regions_are_cut_at_tenths_and_single_pages_not_at_all() -> None:
    out = np.empty(7, np.int64)
    assert split_regions(np.array([0, 10, 11]), 2, 2, np.array([3, 5]), out) == 3
    assert out[:4].tolist() == [0, 3, 10, 11]
    assert split_regions(np.array([0, 10, 11]), 2, 3, np.array([5, 5, 5, 5]), out) == 4
    assert out[:5].tolist() == [0, 5, 7, 10, 11], "half of what is left of the first"


def test_it_splits_into_three_while_the_number_stays_the_same() -> None:
    """All 300 pages are alike: what is split merges again, up to 30 pages, as there are to be 10 regions."""
    subject = damon_of(300)
    numbers = []
    for at in range(1, 6):
        subject.observe(view({}, 100 * at, 100, 300))
        numbers.append(len(subject.hits))
    assert numbers[0] == 20, "10, and each in two"
    assert numbers[1] > 20, "10 again"


def test_the_number_of_regions_stays_within_its_limits() -> None:
    subject = damon_of(2_000, max_regions=40)
    rng = np.random.default_rng(3)
    for at in range(1, 40):
        touched = {int(page): 1_000 for page in rng.choice(2_000, 700, replace=False)}
        subject.observe(view(touched, 100 * at, 100, 2_000))
        assert len(subject.hits) <= 40
        assert len(subject.start) == len(subject.hits) + 1


sizes = st.lists(st.integers(1, 40), min_size=1, max_size=12)


@given(sizes, st.data(), st.integers(0, 20), st.integers(1, 100))
def test_merging_is_as_in_the_reference(
    pages: list[int], data: st.DataObject, threshold: int, most_pages: int
) -> None:
    bounds = np.concatenate([[0], np.cumsum(pages)])
    counts = data.draw(st.lists(st.integers(0, 20), min_size=len(pages), max_size=len(pages)))
    start, hits = bounds.copy(), np.array(counts, np.int32)
    left = merge_regions(start, hits, len(pages), threshold, most_pages)
    found = [(int(start[each]), int(start[each + 1]), int(hits[each])) for each in range(left)]
    plain = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), counts, strict=True))
    assert found == merge_reference(plain, threshold, most_pages)


@given(sizes, st.sampled_from([2, 3]), st.data())
def test_splitting_is_as_in_the_reference(pages: list[int], parts: int, data: st.DataObject) -> None:
    bounds = np.concatenate([[0], np.cumsum(pages)])
    many = len(pages) * (parts - 1)
    tenths = data.draw(st.lists(st.integers(1, 9), min_size=many, max_size=many))
    out = np.empty(len(pages) * parts + 1, np.int64)
    found = split_regions(bounds, len(pages), parts, np.array(tenths), out)
    assert out[: found + 1].tolist() == split_reference(bounds.tolist(), parts, tenths)
