"""Colloid in figures worked by hand: Little's law, the bisection of the fast tier's share, and which pages carry it."""

from __future__ import annotations

import numpy as np
import pytest

from builders.policy_bed import MS, Bed
from pghot.sim.policies.colloid import DELTA, EPSILON, SMOOTHING, HeMemColloid


def bed_of(group_pages: float = 512, room: int = 0) -> tuple[Bed, HeMemColloid]:
    bed = Bed("hemem-colloid", room=room, group_pages=group_pages)
    policy: HeMemColloid = bed.policy  # type: ignore[assignment]
    return bed, policy


def test_the_constants_are_the_papers() -> None:
    assert (SMOOTHING, DELTA, EPSILON) == (0.0625, 0.05, 0.01)


def test_a_slice_of_a_period_weighs_a_sixteenth_and_one_of_two_as_two() -> None:
    bed, policy = bed_of(group_pages=4)
    machine = bed.machine
    machine.slice_ns = 10 * MS / 4
    machine.ledger.served = np.array([25_000.0, 5_000.0])
    machine.latency_ns[:] = [200.0, 400.0]
    policy._measure(bed.world, 10)
    # 25,000 misses in 2.5 ms are 0.01 a ns, and 2 lines in flight at 200 ns.
    assert policy._rate == pytest.approx([0.01 / 16, 0.002 / 16])
    assert policy._occupancy == pytest.approx([2 / 16, 0.8 / 16])
    machine.slice_ns = 20 * MS / 4
    machine.ledger.served = np.array([75_000.0, 5_000.0])  # 50,000 more in 5 ms: 0.01; and none
    policy._measure(bed.world, 10)
    two = 1 - (15 / 16) ** 2
    assert policy._rate == pytest.approx([0.01 / 16 + two * (0.01 - 0.01 / 16), 0.002 / 16 * (15 / 16) ** 2])
    assert policy._occupancy[0] == pytest.approx(2 / 16 + two * (2 - 2 / 16))
    assert policy._latency_ns(bed.world, 0) == pytest.approx(200)
    assert policy._latency_ns(bed.world, 1) == pytest.approx(400)


def test_with_another_period_a_slice_weighs_as_the_part_of_it_that_it_is() -> None:
    bed = Bed("hemem-colloid", group_pages=4, period_ms=20.0)
    bed.machine.slice_ns = 10 * MS / 4
    bed.machine.ledger.served = np.array([25_000.0, 5_000.0])
    bed.act(10)
    half = 1 - (15 / 16) ** 0.5
    assert bed.policy._rate == pytest.approx([0.01 * half, 0.002 * half])  # type: ignore[attr-defined]


def test_an_idle_node_has_its_idle_latency() -> None:
    bed, policy = bed_of()
    assert [policy._latency_ns(bed.world, node) for node in (0, 1)] == [100, 271]
    policy._rate[:], policy._occupancy[:] = 1e-12, 1e-9  # nothing to divide by
    assert policy._latency_ns(bed.world, 0) == 100
    policy._rate[:] = 2e-12
    assert policy._latency_ns(bed.world, 0) == pytest.approx(500)


def test_the_share_is_bisected_between_the_last_that_was_too_small_and_too_large() -> None:
    _, policy = bed_of()
    assert policy._step(100, 200, 0.4) == pytest.approx(0.3)  # between 0.4 and 1
    assert policy._step(100, 200, 0.7) == pytest.approx(0.15)  # between 0.7 and 1
    assert policy._step(200, 100, 0.85) == pytest.approx(-0.075)  # between 0.7 and 0.85
    assert (policy._low, policy._high) == (0.7, 0.85)


def test_latencies_within_5_percent_are_balanced() -> None:
    _, policy = bed_of()
    assert policy._step(100, 104.9, 0.4) == policy._step(100, 95.1, 0.4) == 0
    assert (policy._low, policy._high) == (0.0, 1.0), "and nothing is learned"
    assert policy._step(100, 105, 0.4) == pytest.approx(0.3)
    assert policy._step(100, 95, 0.6) == pytest.approx(-0.1)  # between 0.4 and 0.6


def test_a_bracket_that_closed_opens_on_the_side_that_the_balance_left_it() -> None:
    _, policy = bed_of()
    policy._low, policy._high = 0.5, 0.6
    assert policy._step(100, 200, 0.595) == pytest.approx((0.595 + 1) / 2 - 0.595)
    assert (policy._low, policy._high) == (0.595, 1.0)
    policy._low, policy._high = 0.5, 0.6
    assert policy._step(200, 100, 0.505) == pytest.approx(0.505 / 2 - 0.505)
    assert (policy._low, policy._high) == (0.0, 0.505)
    policy._low, policy._high = 0.5, 0.6
    assert policy._step(100, 200, 0.58) == pytest.approx(0.01), "2 % apart: still a bracket"


def test_the_pages_that_carry_a_share_and_no_more() -> None:
    """20 samples in all: pages 500, 501 and 502 carry 8, 6 and 4 of them, and one in the fast tier the other 2."""
    bed, policy = bed_of()
    policy.count[[500, 501, 502, 3]] = [8, 6, 4, 2]
    page = np.array([500, 501, 502], np.uint32)
    for share, many in ((0.39, 0), (0.4, 1), (0.69, 1), (0.7, 2), (0.89, 2), (0.9, 3), (1.0, 3)):
        assert len(policy._worth(page, share)) == many
    assert policy._resident(bed.world).tolist() == [3]
    policy.count[[7, 5, 2]] = [9, 9, 1]
    assert policy._resident(bed.world).tolist() == [5, 7, 3, 2]
    policy.count[:] = 0
    assert policy._worth(page, 0.0).tolist() == page.tolist(), "nothing was sampled: they carry nothing"


def test_where_pages_share_a_unit_each_has_its_count() -> None:
    """Two units of 512 and 488 pages. The first has 30 samples: each of its pages carries 30 of 30 x 500."""
    _, policy = bed_of(group_pages=1)
    policy.count[:] = [30, 0]
    found = policy._worth(np.arange(100, 600, dtype=np.uint32), 0.1)
    assert len(found) == 50  # 50 x 30 / 15,000


def moved(
    fast_ns: float, slow_ns: float, rates: tuple[float, float]
) -> tuple[list[int], list[int], dict[str, int]]:
    """Pages that came to the fast tier and that left it, in a round with these latencies and rates."""
    bed, policy = bed_of(room=50)
    policy._rate[:] = rates
    policy._occupancy[:] = policy._rate * [fast_ns, slow_ns]
    policy.count[[500, 501, 502]] = [10, 8, 8]
    policy.count[[3, 4, 5]] = [14, 6, 4]
    before = bed.machine.place.copy()
    policy.migrate(bed.world, 40)
    place = bed.machine.place
    up, down = (np.flatnonzero((before == 1 - node) & (place == node)).tolist() for node in (0, 1))
    return up, down, bed.world.decisions.held_back()


def test_a_faster_fast_tier_takes_the_hottest_pages_that_make_up_the_step() -> None:
    """It serves half of all: the step is to three quarters. 500 carries a fifth of 50 samples, 501 0.16 more."""
    assert moved(100, 200, (0.01, 0.01)) == ([500], [], {})
    # At a tenth of all, it is to 0.55: the step of 0.45 holds 0.2 + 0.16, not the other 0.16.
    assert moved(100, 200, (0.001, 0.009)) == ([500, 501], [], {})


def test_a_slower_fast_tier_gives_its_hottest_pages_away() -> None:
    """It serves 0.8 of all: the step is to 0.4. Pages 3, 4 and 5 carry 0.28, 0.12 and 0.08: the first two do."""
    up, down, held = moved(300, 200, (0.008, 0.002))
    assert (up, down, held) == ([], [3, 4], {})
    # At a half it is to a quarter: 0.28 is more than that.
    assert moved(300, 200, (0.005, 0.005)) == ([], [], {})


def test_balanced_tiers_and_idle_ones_rest() -> None:
    assert moved(200, 205, (0.01, 0.01)) == ([], [], {"never pressed": 1})
    assert moved(200, 300, (0.0, 0.0)) == ([], [], {"never pressed": 1})
