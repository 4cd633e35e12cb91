"""The vectorised parts of the workloads equal plain ones that make every access."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pghot.lab.workloads import rows as r
from pghot.lab.workloads.walks import StridedWalk
from references.lab.workloads.rows import poisson_rows_reference

PAGE = 4096
means = st.lists(
    st.one_of(st.just(0.0), st.floats(1e-6, 12.0), st.floats(12.001, 1000.0)), min_size=1, max_size=40
)


@given(means, st.integers(1, (1 << 63) - 1))
@settings(max_examples=80)
def test_poisson_rows_equal_the_reference(mean, seed):
    expected = np.array(mean)
    none = np.exp(-expected)
    large = np.random.default_rng(seed).poisson(expected[expected > 12.0]).astype(np.int64)
    state, plain_state = np.array([seed], np.uint64), np.array([seed], np.uint64)
    page, count = np.empty(len(mean), np.uint32), np.empty(len(mean), np.uint32)
    found = r.poisson_rows(expected, none, large, state, page, count)
    plain = poisson_rows_reference(expected, none, large, plain_state)
    assert list(zip(page[:found].tolist(), count[:found].tolist(), strict=True)) == plain
    assert state[0] == plain_state[0]


def test_poisson_counts_have_the_mean_and_variance_of_poisson():
    """At the border of the two methods too: 11.9 is drawn by inversion, 12.1 by NumPy."""
    draws = r.Draws(7)
    for mean in (0.01, 0.7, 5.0, 11.9, 12.1, 90.0):
        pages = 200_000
        _, count = r.RandomField(np.full(pages, 1 / pages)).draw(mean * pages, draws)
        total, squares = count.sum(dtype=np.float64), (count.astype(np.float64) ** 2).sum()
        found, variance = total / pages, squares / pages - (total / pages) ** 2
        assert abs(found - mean) < 6 * (mean / pages) ** 0.5
        assert abs(variance - mean) < 6 * ((mean + 2 * mean**2) / pages) ** 0.5


def walk_reference(size: int, stride: int, skip: int, accesses: int) -> dict[int, list[int]]:
    """page -> [touches, misses, sequential], by making every access of a strided walk."""
    steps = -(-size // stride)
    counts: dict[int, list[int]] = {}
    for number in range(skip, skip + accesses):
        step = number % steps
        byte = step * stride
        line = byte // 64
        before = (step - 1) * stride
        entry = counts.setdefault(byte // PAGE, [0, 0, 0])
        entry[0] += 1
        if step == 0 or before // 64 != line:
            entry[1] += 1
            if stride <= 64 and step > 0 and before // PAGE == byte // PAGE:
                entry[2] += 1
    return counts


strides = st.sampled_from([1, 8, 24, 63, 64, 65, 100, 128, 4095, 4096, 5000, 10_000])


@given(st.integers(1, 5 * PAGE), strides, st.lists(st.integers(0, 900), min_size=1, max_size=5))
@settings(max_examples=150)
def test_strided_walk_equals_single_accesses(size, stride, slices):
    walk, draws = StridedWalk(size, PAGE, stride, 0.5), r.Draws(1)
    done = 0
    for accesses in slices:
        rows = walk.draw(accesses, draws)
        expected = walk_reference(size, stride, done, accesses)
        done += accesses
        found = {
            int(p): [int(t), int(m), int(s)]
            for p, t, m, s in zip(rows.page, rows.touches, rows.misses, rows.sequential, strict=True)
        }
        assert found == expected
        assert rows.page.tolist() == sorted(expected)
        assert (rows.writes <= rows.touches).all()


slice_rows = st.dictionaries(st.integers(0, 10), st.integers(1, 9), max_size=8).map(
    lambda counts: r.random_rows(
        np.array(sorted(counts), np.uint32),
        np.array([counts[p] for p in sorted(counts)], np.uint32),
        0.0,
        r.Draws(0),
    )
)


@given(st.lists(slice_rows, min_size=1, max_size=4))
@settings(max_examples=80)
def test_merged_rows_are_sums(parts):
    merged = r.merge_rows(parts)
    expected: dict[int, int] = {}
    for part in parts:
        for page, touches in zip(part.page.tolist(), part.touches.tolist(), strict=True):
            expected[page] = expected.get(page, 0) + touches
    assert dict(zip(merged.page.tolist(), merged.touches.tolist(), strict=True)) == expected
    assert merged.page.tolist() == sorted(expected)
