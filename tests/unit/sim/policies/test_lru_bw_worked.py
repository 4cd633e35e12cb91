"""The bandwidth-aware LRU in figures worked by hand: when it moves, how much, and how its chunks adapt."""

from __future__ import annotations

import numpy as np
import pytest

from builders.policy_bed import MS, Bed
from pghot.errors import UsageError
from pghot.sim.policies import POLICIES
from pghot.sim.policies.lru_bw import LruBandwidth

PAGE_MIB = 4096 / (1 << 20)


def bed_with(room: int, young: range, chunk_pages: float = 4, **options: float) -> Bed:
    """`young` pages of the slow tier are touched since the last walk."""
    sizes = {"chunk_min_mib": chunk_pages * PAGE_MIB, "chunk_max_mib": 4 * chunk_pages * PAGE_MIB}
    bed = Bed("lru-bw", room=room, **{**sizes, **options})
    bed.machine.generations.young[young] = 1
    bed.machine.used_share = np.array([0.1, 0.9])
    return bed


def promoted(bed: Bed) -> list[int]:
    return np.flatnonzero(bed.machine.place[100:] == 0).tolist()  # type: ignore[no-any-return]


def test_the_options_and_their_limits() -> None:
    assert POLICIES.options("lru-bw") == {
        "period_ms": 1000.0, "fast_below": 0.8, "slow_above": 0.3, "chunk_min_mib": 8.0, "chunk_max_mib": 64.0,
    }  # fmt: skip
    largest = {"chunk_max_mib": float(1 << 20)}
    for given in (
        {"period_ms": 1.0}, {"fast_below": 0.0}, {"slow_above": 0.0}, {"chunk_min_mib": 1 / 256},
        {"chunk_min_mib": float(1 << 20), **largest}, {"chunk_min_mib": 64.0},
    ):  # fmt: skip
        POLICIES.make("lru-bw", **given)
    for given in (
        {"period_ms": 0.9}, {"fast_below": -0.1}, {"slow_above": -0.1}, {"chunk_min_mib": 1 / 257},
        {"chunk_max_mib": 7.9}, {"chunk_max_mib": float((1 << 20) + 1)},
    ):  # fmt: skip
        with pytest.raises(UsageError, match=f"lru-bw.{next(iter(given))}"):
            POLICIES.make("lru-bw", **given)


def test_it_promotes_a_chunk_of_what_the_last_walk_found_young() -> None:
    bed = bed_with(10, range(300, 306))
    assert bed.act(1_000) == {}
    assert promoted(bed) == [200, 201, 202, 203]


@pytest.mark.parametrize(
    ("fast", "slow", "moves"),
    [(0.79, 0.31, True), (0.8, 0.31, False), (0.79, 0.3, False), (0.0, 1.2, True)],
)
def test_the_fast_tier_must_have_bandwidth_to_spare_and_the_slow_one_be_busy(
    fast: float, slow: float, moves: bool
) -> None:
    bed = bed_with(10, range(300, 306))
    bed.machine.used_share = np.array([fast, slow])
    assert bed.act(1_000) == ({} if moves else {"never pressed": 1})
    assert bool(promoted(bed)) == moves


def test_bandwidth_is_the_mean_over_the_period_by_time() -> None:
    """100 ms at 1.0 and 900 ms at 0.2 are 0.28, not above 0.3; 200 ms and 800 are 0.36."""
    for long_ms, moves in ((900, False), (800, True)):
        bed = bed_with(10, range(300, 306))
        bed.machine.used_share, bed.machine.slice_ns = np.array([0.0, 1.0]), (1_000 - long_ms) * MS
        bed.act(500)
        bed.machine.used_share, bed.machine.slice_ns = np.array([0.0, 0.2]), long_ms * MS
        bed.act(1_000)
        assert bool(promoted(bed)) == moves


def test_each_period_is_measured_anew_from_the_last_round_on() -> None:
    bed = bed_with(50, range(300, 306))
    assert bed.act(999) == {}
    assert promoted(bed) == []
    bed.machine.used_share = np.array([0.9, 0.9])
    assert bed.act(1_500) == {}, "in the mean 0.5"
    assert len(promoted(bed)) == 4
    assert bed.policy._used_ns.tolist() == [0, 0]  # type: ignore[attr-defined]
    assert bed.act(2_499) == {}
    assert bed.act(2_500) == {"never pressed": 1}, "0.9 all along"


def test_where_room_is_short_the_oldest_pages_of_the_fast_tier_make_some() -> None:
    """Four come, and one fits: three go, the oldest ones. Pages 0 and 2 are touched in every period."""
    bed = bed_with(1, range(300, 304))
    lru = bed.machine.generations
    lru.sequence = 5
    lru.generation[[0, 2]] = 5
    bed.act(1_000)
    assert promoted(bed) == [200, 201, 202, 203]
    assert np.flatnonzero(bed.machine.place[:100] == 1).tolist() == [1, 3, 4]
    assert bed.machine.kernel_threads.keys() == {"lru-bw"}


def test_of_several_nodes_on_top_pages_go_to_the_nearest() -> None:
    bed = bed_with(10, range(300, 306))
    bed.machine.promotion_targets = [[0, 1], [0, 1]]
    bed.act(1_000)
    assert promoted(bed) == [200, 201, 202, 203]


def test_without_old_pages_what_finds_no_room_is_told() -> None:
    bed = bed_with(1, range(300, 304))
    assert bed.act(1_000) == {"free space": 3}


def test_a_part_of_a_page_is_carried_on() -> None:
    """Chunks of 0.4 pages: none, none, one, and 0.2 are left."""
    bed = bed_with(50, range(300, 310), chunk_pages=2)
    policy: LruBandwidth = bed.policy  # type: ignore[assignment]
    policy._chunk_mib = 0.4 * PAGE_MIB
    found = []
    for at_ms in (1_000, 2_000, 3_000, 4_000):
        policy._chunk_mib = 0.4 * PAGE_MIB
        bed.machine.generations.young[300:310] = 1
        bed.act(at_ms)
        found.append(len(promoted(bed)))
    assert found == [0, 0, 1, 1]
    assert bed.world.decisions.held_back() == {}


def test_the_thread_has_as_long_as_its_period() -> None:
    """It is busy but for the time of 1.5 pages, after the walk over 1,000 PTEs at 25 ns: two move."""
    bed = bed_with(50, range(300, 310))
    bed.machine.slice_ns = 0.0
    bed.act(500)
    bed.machine.used_share, bed.machine.slice_ns = np.array([0.0, 0.9]), 1.0
    bed.machine.generations.age(0.0)  # the thread is too busy to walk itself
    bed.machine.thread("lru-bw").run(0.0, 2_000 * MS - 1.5 * 1_240)
    bed.act(1_000)
    assert len(promoted(bed)) == 2


def adapted(*periods: tuple[int, int]) -> list[float]:
    """The chunk in MiB after each period with so many promoted and demoted; it starts at 32."""
    policy = LruBandwidth()
    policy._chunk_mib, policy._losing_periods = 32.0, 0
    found = []
    for promoted_pages, demoted_pages in periods:
        policy._adapt(promoted_pages, demoted_pages)
        found.append(policy._chunk_mib)
    return found


def test_chunks_double_while_promotions_lead_and_halve_after_three_periods_in_which_they_do_not() -> None:
    assert adapted((5, 4), (5, 4), (5, 0)) == [64, 64, 64]
    assert adapted((5, 5), (5, 6), (5, 5), (5, 5), (5, 5), (5, 5), *[(0, 0)] * 3) == [
        32,
        32,
        16,
        16,
        16,
        8,
        8,
        8,
        8,
    ]
    assert adapted((5, 5), (5, 5), (5, 4), (5, 5), (5, 5), (5, 5)) == [32, 32, 64, 64, 64, 32]


def test_it_begins_with_the_smallest_chunk_and_leaves_demotion_to_nobody_else() -> None:
    bed = Bed("lru-bw")
    bed.machine.demotion_enabled = True
    bed.policy.start(bed.world)
    assert bed.policy._chunk_mib == 8.0  # type: ignore[attr-defined]
    assert not bed.machine.demotion_enabled
    assert (bed.policy.tracker_bytes(), bed.policy.counters()) == (0, {})
