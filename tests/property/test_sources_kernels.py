"""The kernels of the simulated sources equal their plain references, slice after slice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from pghot.sim.sources import abit, chmu, hintfaults, numa_scanner, sampling
from pghot.sim.sources.hwsample import count_useful
from references.sim.sources.abit import harvest_abits_reference, set_abits_reference
from references.sim.sources.chmu import count_misses_reference, fill_hot_list_reference
from references.sim.sources.hintfaults import mark_pages_reference, take_faults_reference
from references.sim.sources.sampling import sample_events_reference

PAGES = 24
NODES = 3


@st.composite
def rows(
    draw: st.DrawFn,
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int16], npt.NDArray[np.uint32]]:
    """(page, node, events) of a slice: sorted unique (page, node) pairs."""
    pairs = sorted(
        draw(st.sets(st.tuples(st.integers(0, PAGES - 1), st.integers(0, NODES - 1)), max_size=30))
    )
    events = draw(st.lists(st.integers(0, 40), min_size=len(pairs), max_size=len(pairs)))
    page = np.array([p for p, _ in pairs], np.uint32)
    return page, np.array([n for _, n in pairs], np.int16), np.array(events, np.uint32)


places = st.lists(st.sampled_from([0, 1, 2, 255]), min_size=PAGES, max_size=PAGES).map(
    lambda nodes: np.array(nodes, np.uint8)
)
lowers = st.lists(st.booleans(), min_size=NODES, max_size=NODES).map(lambda flags: np.array(flags, np.bool_))
slices = st.lists(st.tuples(rows(), places), min_size=1, max_size=6)


@given(slices, lowers, st.integers(1, 2 * PAGES), st.permutations(range(PAGES)), st.integers(1, PAGES))
@settings(max_examples=60)
def test_hint_faults_equal_the_reference(parts, lower, span, order, own):
    space = np.array(order[:own], np.uint32)
    marks = np.full(PAGES, numa_scanner.UNMARKED, np.int32)
    plain_marks = marks.copy()
    cursor = plain_cursor = 0
    for number, ((page, node, touches), place) in enumerate(parts):
        start_ms, end_ms = 700.0 * number, 700.0 * (number + 1)
        out = hintfaults.Faults.sized(len(page))
        taken = hintfaults.take_faults(page, touches, node, marks, place, lower, start_ms, end_ms, *out)
        plain = take_faults_reference(page, touches, node, plain_marks, place, lower, start_ms, end_ms)
        assert [tuple(int(a[i]) for a in out) for i in range(taken)] == plain
        np.testing.assert_array_equal(marks, plain_marks)
        now = int(end_ms)
        cursor, marked = numa_scanner.mark_pages(marks, space, place, lower, cursor, span, now)
        plain_cursor, plain_marked = mark_pages_reference(
            plain_marks, space, place, lower, plain_cursor, span, now
        )
        assert (cursor, marked) == (plain_cursor, plain_marked)
        np.testing.assert_array_equal(marks, plain_marks)


@given(slices, lowers)
@settings(max_examples=60)
def test_abits_equal_the_reference(parts, lower):
    bits = np.zeros(PAGES, np.uint8)
    plain_bits = bits.copy()
    for (page, _, touches), place in parts:
        abit.set_abits(page, touches, place, lower, bits)
        set_abits_reference(page, touches, place, lower, plain_bits)
        np.testing.assert_array_equal(bits, plain_bits)
    place = parts[-1][1]
    out = np.empty(PAGES, np.uint32)
    walked, found = abit.harvest_abits(bits, place, lower, out)
    assert (walked, out[:found].tolist()) == harvest_abits_reference(plain_bits, place, lower)
    np.testing.assert_array_equal(bits, plain_bits)


@given(
    st.lists(rows(), min_size=1, max_size=5),
    st.integers(1, 4),
    st.integers(1, 50),
    st.integers(1, (1 << 64) - 1),
)
@settings(max_examples=60)
def test_sampling_equals_the_reference(parts, unit_pages, period, seed):
    rng, plain_rng = np.array([seed], np.uint64), np.array([seed], np.uint64)
    ahead = np.array([1], np.float64)
    per_event = np.log(1 - 1 / period) if period > 1 else -np.inf
    plain_ahead = ahead.copy()
    for _, _, events in parts:
        row, count = np.empty(len(events), np.int64), np.empty(len(events), np.uint32)
        hit = sampling.sample_events(events, float(unit_pages), per_event, rng, ahead, row, count)
        plain = sample_events_reference(events, unit_pages, period, plain_rng, plain_ahead)
        assert list(zip(row[:hit].tolist(), count[:hit].tolist(), strict=True)) == plain
        assert ahead.tolist() == plain_ahead.tolist()
    assert rng[0] == plain_rng[0]


@given(st.integers(1, 2000), st.integers(0, 1000))
@settings(max_examples=40)
def test_sampling_rate_is_the_period(period, seed):
    """Over many events the samples are events / period, within what chance allows."""
    sampler = sampling.Sampler(period, seed)
    events = np.full(100, 7 * period, np.uint32)
    taken = sum(int(sampler.draw(events)[1].sum()) for _ in range(10))
    expected = 7000
    assert abs(taken - expected) <= 6 * (expected * (1 - 1 / period)) ** 0.5


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), min_size=1, max_size=30), st.integers(1, 100)
)
@settings(max_examples=60)
def test_full_ring_keeps_its_capacity_and_invents_nothing(pairs, capacity):
    samples = dict(pairs)
    row = np.array(sorted(samples), np.int64)
    count = np.array([samples[r] for r in sorted(samples)], np.uint32)
    capacity = min(capacity, int(count.sum()))
    kept, times = sampling.keep_evenly(row, count, capacity)
    assert int(times.sum()) == capacity
    assert all(times[i] <= samples[int(r)] for i, r in enumerate(kept))


@given(
    slices,
    lowers,
    st.sampled_from([1, 2, 8]),
    st.integers(1, 30),
    st.integers(0, 10),
    st.integers(1, 1 << 60),
)
@settings(max_examples=60)
def test_chmu_equals_the_reference(parts, lower, downsampling, threshold, ring, seed):
    counts = np.zeros(PAGES, np.uint64)
    plain_counts = counts.copy()
    rng, plain_rng = np.array([seed], np.uint64), np.array([seed], np.uint64)
    for (page, _, misses), place in parts:
        chmu.count_misses(page, misses, place, lower, downsampling, rng, counts)
        count_misses_reference(page, misses, place, lower, downsampling, plain_rng, plain_counts)
        np.testing.assert_array_equal(counts, plain_counts)
    place = parts[-1][1]
    out_page, out_count = np.empty(ring, np.uint32), np.empty(ring, np.uint64)
    first = seed % PAGES
    entries, lost, resume = chmu.fill_hot_list(counts, place, 1, threshold, first, out_page, out_count)
    plain = fill_hot_list_reference(counts, place, 1, threshold, first, ring)
    assert (out_page[:entries].tolist(), lost, resume) == plain
    np.testing.assert_array_equal(out_count[:entries], counts[out_page[:entries]])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2**32 - 1))))
def test_useful_samples_are_those_of_pages_on_a_lower_node(samples: list[tuple[int, int]]) -> None:
    place, lower = np.array([0, 1, 2, 1, 0], np.uint8), np.array([False, True, True])
    page, count = (np.array([each[column] for each in samples], np.uint32) for column in (0, 1))
    assert count_useful(page, count, place, lower) == sum(many for page, many in samples if page in (1, 2, 3))
