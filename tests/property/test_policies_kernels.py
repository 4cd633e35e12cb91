"""The policies' kernels against their references."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pghot.policies.hemem import count_samples
from references.policies.hemem import count_samples_reference


@given(
    st.integers(0, 2**32 - 1), st.integers(0, 400), st.integers(0, 12), st.integers(1, 20), st.integers(1, 20)
)
def test_samples_are_counted_as_by_the_reference(
    seed: int, samples: int, rounds: int, freq_threshold: int, more: int
) -> None:
    knobs = freq_threshold, freq_threshold + more
    rng = np.random.default_rng(seed)
    unit = (rng.random(samples) ** 3 * 8).astype(np.int64)  # the first ones are sampled most
    count = rng.integers(0, freq_threshold + more, 8).astype(np.int32)
    clock, plain = np.zeros(8, np.int32), count.copy()
    hot = rng.random(8) < 0.1
    plain_hot = hot.copy()
    halved = count_samples(unit, count, clock, hot, rounds, *knobs)
    assert halved == count_samples_reference(unit, plain, plain_hot, rounds, *knobs)
    np.testing.assert_array_equal(count, plain)
    np.testing.assert_array_equal(hot, plain_hot)
    assert not clock.any()
