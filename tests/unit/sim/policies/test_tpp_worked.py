"""TPP in figures worked by hand: the fault that promotes, who pays, and the watermark of its demotion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.policy_bed import Bed
from builders.small_bed import PAGES, SmallBed
from pghot.errors import UsageError
from pghot.sim.policies import POLICIES
from references.sim.policies.tpp import tpp_reference


def promoted(bed: Bed) -> list[int]:
    return np.flatnonzero(bed.machine.place[500:] == 0).tolist()  # type: ignore[no-any-return]


def test_the_options_and_their_limits() -> None:
    assert POLICIES.options("tpp") == {"demote_scale": 0.02, "faults": 2}
    for option, least, most in (("demote_scale", 0.0, 0.1), ("faults", 1, 255)):
        for value in (least, most):
            POLICIES.make("tpp", **{option: value})
        for value in (least - 1, most + 1):
            with pytest.raises(UsageError, match=f"tpp.{option}"):
                POLICIES.make("tpp", **{option: value})


def test_the_first_fault_makes_a_page_active_and_the_second_promotes_it_however_late() -> None:
    bed = Bed("tpp", room=50)
    bed.see(1_000, 500, 501, latency_ms=5)
    assert promoted(bed) == []
    assert bed.world.decisions.held_back() == {"threshold": 2}
    bed.see(61_000, 500, 502, latency_ms=59_000)
    assert promoted(bed) == [0]
    assert bed.world.decisions.held_back() == {"threshold": 3}
    assert bed.policy.counters() == {"numa_hint_faults": 4, "pgpromote_candidate": 1}
    assert bed.policy.tracker_bytes() == 0


@pytest.mark.parametrize("faults", [1, 3])
def test_the_patches_need_a_third_fault_and_plain_balancing_one(faults: int) -> None:
    bed = Bed("tpp", room=50, faults=faults)
    for at in range(1, 4):
        assert promoted(bed) == ([0] if at > faults else [])
        bed.see(1_000 * at, 500, latency_ms=5)
    assert promoted(bed) == [0]


def test_the_program_pays_for_each_page_in_its_fault() -> None:
    """No flush, as no TLB has an entry of it: three quarters of 1,240 ns to remap. The copy is timed with the slice."""
    bed = Bed("tpp", room=50)
    for at_ms in (1_000, 2_000):
        bed.see(at_ms, 500, 501, latency_ms=5)
    assert bed.machine.ledger.moving_app_ns == 2 * 930
    assert bed.machine.kernel_threads == {}


def test_a_page_that_finds_no_room_stays_active_and_one_that_was_promoted_comes_back_inactive() -> None:
    bed = Bed("tpp", room=1)
    for at_ms in (1_000, 2_000):
        bed.see(at_ms, 500, 501, latency_ms=5)
    assert promoted(bed) == [0]
    assert bed.world.decisions.held_back() == {"threshold": 2, "free space": 1}
    bed.machine.demote(np.array([500], np.uint32), 0, "kswapd0")
    bed.see(3_000, 500, 501, latency_ms=5)
    assert promoted(bed) == [1], "500 is inactive again, 501 was active all along"


def test_promotion_takes_what_is_free_down_to_the_reserve() -> None:
    """The gate of mode 2 keeps the high watermark free; TPP does not: 3 pages fit above the one of the reserve."""
    bed = Bed("tpp", room=3, faults=1)
    bed.machine.high_pages[0] = 3
    bed.see(1_000, 500, 501, 502, 503, latency_ms=5)
    assert promoted(bed) == [0, 1, 2]


@pytest.mark.parametrize(("scale", "mark"), [(0.02, 21), (0.1, 101), (0.0, 10)])
def test_kswapd_wakes_below_2_percent_of_the_node_and_frees_up_to_that(scale: float, mark: int) -> None:
    """The node has 1,001 pages: 2 % are 20.02, so 21. Its high mark is 5, and twice that is the least."""
    bed = Bed("tpp", room=900, demote_scale=scale)
    machine = bed.machine
    assert machine.capacity_pages[0] == 1_001
    assert machine.low_pages.tolist() == [mark, 6]
    assert machine.high_pages.tolist() == [mark, 8]
    assert machine.min_pages.tolist() == [3, 4], "allocation goes on down to the old one"


def test_kswapd_demotes_what_is_old_until_the_watermark_is_met() -> None:
    """10 pages are free, and 21 are to be: 11 of the oldest go, as 100 pages of the node were never touched."""
    bed = Bed("tpp", room=900)
    machine = bed.machine
    machine.demotion_enabled = True
    machine.free_pages[0] = 10
    machine.generations.sequence = 5
    bed.act(1_000)
    assert np.count_nonzero(machine.place[:100] == 1) == 11
    assert machine.free_pages[0] == 21
    bed.act(1_100)
    assert machine.free_pages[0] == 21, "at the mark it sleeps"


def test_a_round_in_which_nothing_faulted_is_told() -> None:
    bed = Bed("tpp", room=50)
    bed.see(100, 500, latency_ms=5)
    assert bed.act(100) == {"threshold": 1}
    assert bed.act(200) == {"threshold": 1, "nothing seen": 1}


slices = st.lists(st.lists(st.integers(0, PAGES - 1), unique=True, max_size=PAGES).map(sorted), max_size=12)


@given(slices, st.integers(0, 6), st.integers(0, 6), st.integers(1, 3))
def test_it_does_what_its_description_says(
    faulting: list[list[int]], on_top: int, room: int, faults: int
) -> None:
    bed = SmallBed("tpp", on_top, room, faults=faults)
    bed.machine.demotion_enabled = False
    expected = tpp_reference(faulting, range(on_top), room, faults)
    for at, (pages, after) in enumerate(zip(faulting, expected, strict=True)):
        bed.fault(1_000 * at, {page: 5 for page in pages if page not in bed.on_top()})
        assert bed.on_top() == after
