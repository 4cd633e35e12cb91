"""What a slice leaves behind when it has been timed, against the plain form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pghot.sim.machine.slice_timing import SliceTiming
from pghot.sim.machine.topology import load_topology
from references.sim.machine.slice_timing import Means

TIERS = load_topology("hbm-dram-cxl")
COUNT = len(TIERS.nodes)
IDLE_NS = np.array([node.latency_ns for node in TIERS.nodes])


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e5, 1e9]))
def test_means_and_totals_as_in_the_plain_form(seed: int, mean_ns: float) -> None:
    rng = np.random.default_rng(seed)
    timing, means = SliceTiming(TIERS, 8, 1, mean_ns), Means(np.ones(COUNT), np.zeros(COUNT))
    now_ns = 0.0
    for _ in range(3):
        timing.served[:] = rng.integers(0, 1000, timing.served.shape) * (rng.random() < 0.8)
        timing.moving_bytes[:], timing.copy_ns[:] = rng.integers(0, 1 << 20, COUNT), rng.random(COUNT) * 1e4
        copy_ns = timing.copy_ns.copy()
        duration_ns, copied_ns = timing.run_slice(rng.choice([0.0, 1e3, 1e6]), now_ns)
        now_ns += duration_ns
        expected = means.take(
            timing.served, timing.latency_ns, IDLE_NS, copy_ns, duration_ns, now_ns, mean_ns
        )
        assert copied_ns == pytest.approx(expected)
        assert timing.slowdown == pytest.approx(means.slowdown)
        assert timing.served_total == pytest.approx(means.served)
        assert not timing.moving_bytes.any()
        assert not timing.copy_ns.any()


def test_asking_for_prices_changes_nothing() -> None:
    timing = SliceTiming(TIERS, 8, 1, 1e9)
    timing.served[0, 0] = [1e6, 0, 0, 1e5]
    timing.run_slice(1e3, 0.0)
    before = [
        timing.served.copy(),
        timing.latency_ns.copy(),
        timing.used_share.copy(),
        timing.slowdown.copy(),
    ]
    price_ns = timing.marginal_ns()
    assert price_ns.argmin() == IDLE_NS.argmin()
    after = [timing.served, timing.latency_ns, timing.used_share, timing.slowdown]
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
