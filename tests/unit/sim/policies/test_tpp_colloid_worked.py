"""TPP with Colloid in figures worked by hand: which tier is the slower one, and which way faults move pages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pghot
from builders.policy_bed import MS, Bed
from builders.small_bed import PAGES, SmallBed
from pghot.lab.workloads.workload_files import make_workload
from pghot.sim.policies import POLICIES
from pghot.sim.policies.tpp_colloid import TppColloid
from references.sim.policies.tpp_colloid import tpp_colloid_reference


def bed_of(congested: bool, room: int = 50, **options: float) -> tuple[Bed, TppColloid]:
    bed = Bed("tpp-colloid", room=room, **options)
    policy: TppColloid = bed.policy  # type: ignore[assignment]
    policy.congested = congested
    return bed, policy


def on_top(bed: Bed) -> list[int]:
    """Pages on the fast node that were not there at first, and, as negative numbers, those that left it."""
    up = np.flatnonzero(bed.machine.place[100:] == 0) + 100
    down = -np.flatnonzero(bed.machine.place[:100] == 1)
    return [*up.tolist(), *down.tolist()]


def test_the_options_are_those_of_tpp() -> None:
    assert POLICIES.options("tpp-colloid") == POLICIES.options("tpp") == {"demote_scale": 0.02, "faults": 2}


def test_while_the_fast_tier_is_faster_it_is_tpp() -> None:
    bed, policy = bed_of(congested=False)
    for at_ms in (1_000, 2_000, 3_000):
        bed.see(at_ms, 3, 500, latency_ms=5)
    assert on_top(bed) == [500], "and no page leaves, however often it faults"
    assert bed.world.decisions.held_back() == {"threshold": 1}
    assert policy.counters() == {"numa_hint_faults": 6, "pgpromote_candidate": 1}
    assert bed.machine.low_pages.tolist() == Bed("tpp", room=50).machine.low_pages.tolist()


def test_while_it_is_slower_the_second_fault_on_it_takes_a_page_down_and_none_comes_up() -> None:
    bed, policy = bed_of(congested=True)
    bed.see(1_000, 3, 500, latency_ms=5)
    assert on_top(bed) == []
    bed.see(2_000, 3, 4, 500, latency_ms=5)
    assert on_top(bed) == [-3]
    assert bed.world.decisions.held_back() == {"threshold": 1, "never pressed": 1}
    assert policy.counters() == {"numa_hint_faults": 5, "pgpromote_candidate": 1}


def test_the_program_pays_for_a_page_that_goes_down_in_its_fault() -> None:
    """As for one that comes up: 930 ns to remap."""
    bed, _ = bed_of(congested=True)
    for at_ms in (1_000, 2_000):
        bed.see(at_ms, 3, 4, latency_ms=5)
    assert bed.machine.ledger.moving_app_ns == 2 * 930
    assert bed.machine.kernel_threads == {}


def test_a_page_that_was_moved_begins_anew() -> None:
    bed, policy = bed_of(congested=True)
    for at_ms in (1_000, 2_000):
        bed.see(at_ms, 3, latency_ms=5)
    policy.congested = False
    bed.see(3_000, 3, latency_ms=5)
    assert on_top(bed) == [-3]
    bed.see(4_000, 3, latency_ms=5)
    assert on_top(bed) == []


def test_a_fault_on_top_is_none_below() -> None:
    bed, policy = bed_of(congested=True)
    bed.see(1_000, 3, latency_ms=5)
    bed.machine.demote(np.array([3], np.uint32), 0, "kswapd0")
    policy.congested = False
    bed.see(2_000, 3, latency_ms=5)
    assert on_top(bed) == [-3]
    bed.see(3_000, 3, latency_ms=5)
    assert on_top(bed) == []
    policy.congested = True
    bed.see(4_000, 3, latency_ms=5)
    assert on_top(bed) == [], "nor does the fault before it came back count"


def test_a_page_stays_active_while_promotions_are_refused() -> None:
    bed, policy = bed_of(congested=True)
    for at_ms in (1_000, 2_000):
        bed.see(at_ms, 500, latency_ms=5)
    policy.congested = False
    bed.see(3_000, 500, latency_ms=5)
    assert on_top(bed) == [500]


@pytest.mark.parametrize(
    ("fast_ns", "slow_ns", "slower"), [(300, 299, True), (300, 300, False), (299, 300, False)]
)
def test_the_latencies_of_the_last_slices_say_which_tier_is_slower(
    fast_ns: float, slow_ns: float, slower: bool
) -> None:
    """Lines in flight / lines a ns. Unlike over HeMem, latencies within 5 % are told apart."""
    bed, policy = bed_of(congested=not slower)
    policy._rate[:] = 0.01
    policy._occupancy[:] = np.array([fast_ns, slow_ns]) * 0.01
    bed.machine.slice_ns = 0.0
    bed.act(1)
    assert policy.congested == slower


def test_the_measuring_is_that_of_colloid() -> None:
    """10 ms with 0.01 lines a ns on both nodes, 271 ns each on the fast one and 100 on the slow one."""
    bed, policy = bed_of(congested=False)
    bed.machine.slice_ns = 10 * MS
    bed.machine.ledger.served = np.array([100_000.0, 100_000.0])
    bed.machine.latency_ns[:] = [271.0, 100.0]
    bed.act(10)
    assert policy._rate == pytest.approx([0.01 / 16, 0.01 / 16])
    assert policy.congested


def test_in_the_lab_pages_of_the_fast_tier_fault() -> None:
    """Nine tenths are on top: the scanner marks and faults find some ten times as many pages as for TPP."""
    trace = make_workload("gups", 0, footprint="16 MiB", slices=100, accesses_per_slice=20_000, init="random")
    result = pghot.compare(
        trace,
        policies=["tpp", "tpp-colloid"],
        fast_share=0.9,
        times=100.0,
        threads=1,
        duration_s=None,
        seeds=1,
    )
    share = {row["policy"]: row["tracking_app_share"] for row in result.summary.to_pylist()}
    assert share["tpp-colloid"] > 4 * share["tpp"] > 0


slices = st.lists(
    st.tuples(st.booleans(), st.lists(st.integers(0, PAGES - 1), unique=True, max_size=PAGES).map(sorted)),
    max_size=12,
)


@given(slices, st.integers(0, 6), st.integers(0, 6), st.integers(1, 3))
def test_it_does_what_its_description_says(
    drawn: list[tuple[bool, list[int]]], on_top: int, room: int, faults: int
) -> None:
    bed = SmallBed("tpp-colloid", on_top, room, faults=faults)
    bed.machine.demotion_enabled = False
    policy: TppColloid = bed.policy  # type: ignore[assignment]
    expected = tpp_colloid_reference(drawn, range(on_top), room, faults)
    for at, ((slower, pages), after) in enumerate(zip(drawn, expected, strict=True)):
        policy.congested = slower
        bed.fault(1_000 * at, dict.fromkeys(pages, 5))
        assert bed.on_top() == after
