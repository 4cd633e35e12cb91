"""Alto's gate in figures worked by hand: the latency that a core waits for a read, and which promotions pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.policy_bed import Bed
from builders.small_bed import PAGES, SmallBed
from pghot.errors import UsageError
from pghot.sim.policies import POLICIES
from pghot.sim.policies.alto import Alto, passing

ALTOS = ("alto-numab2", "alto-tpp", "alto-hemem-colloid")


def served(bed: Any, random: float, waited: float, latency_ns: float, sequential: float = 0) -> None:
    """In the last slice the slow node served so many random misses, for which cores waited so many latencies."""
    bed.machine.timing.served[:] = 0
    bed.machine.timing.served[0, 1] = [random, sequential, 0, waited]
    bed.machine.latency_ns[:] = [100, latency_ns]


def promoted(bed: Bed) -> list[int]:
    return np.flatnonzero(bed.machine.place[500:] == 0).tolist()  # type: ignore[no-any-return]


def test_its_option_and_its_limits() -> None:
    for name in ALTOS:
        assert POLICIES.options(name) == {"ghz": 2.2}
        for ghz in (0.09, 101.0):
            with pytest.raises(UsageError, match=f"{name}.ghz"):
                POLICIES.make(name, ghz=ghz)


@pytest.mark.parametrize(
    ("cycles", "tenths"),
    [(0, 0), (40, 0), (40.1, 1), (60, 1), (61, 3), (80, 3), (81, 5), (100, 5), (100.1, 10)],
)
def test_the_steps_are_those_of_its_code(cycles: float, tenths: int) -> None:
    assert passing(cycles) == tenths


@pytest.mark.parametrize(
    ("waited", "many"),
    [
        (250, 10),  # 4 misses in flight: 271 / 4 = 67.75 ns are 149 cycles of 2.2 GHz
        (100, 1),  # 10 in flight: 27.1 ns are 60 cycles, 59.6
        (110, 3),  # 29.8 ns are 65.6 cycles
        (160, 5),  # 43.4 ns are 95.4
        (50, 0),  # 20 in flight: 13.55 ns are 30
    ],
)
def test_as_many_of_ten_pass_as_the_latency_that_is_not_hidden_says(waited: float, many: int) -> None:
    bed = Bed("alto-numab2", room=50)
    served(bed, random=1_000, waited=waited, latency_ns=271, sequential=1e6)
    bed.act(1_000)
    before = bed.world.decisions.held_back()
    bed.see(1_100, *range(500, 510), latency_ms=5)
    assert len(promoted(bed)) == many
    assert bed.world.decisions.held_back().get("rate", 0) == 10 - many
    assert before == {"nothing seen": 1}


def test_those_that_pass_are_spread_evenly_over_batches() -> None:
    """3 of 10: the 4th, the 7th and the 10th, whichever batch they are in."""
    bed = Bed("alto-numab2", room=50)
    served(bed, random=1_000, waited=110, latency_ns=271)
    bed.act(1_000)
    bed.see(1_100, *range(500, 506), latency_ms=5)
    bed.see(1_200, *range(506, 514), latency_ms=5)
    assert promoted(bed) == [3, 6, 9, 13]


def test_the_mean_of_a_second_counts_and_each_second_is_measured_anew() -> None:
    """900 reads that wait 271 ns and 100 that wait 0 are 244 ns; in the next second all wait nothing."""
    bed = Bed("alto-numab2", room=50)
    policy: Alto = bed.policy  # type: ignore[assignment]
    served(bed, random=900, waited=900, latency_ns=271)
    bed.act(500)
    served(bed, random=100, waited=0, latency_ns=271)
    bed.act(999)
    assert policy._gated.tenths == 10
    bed.act(1_000)
    assert policy._gated.tenths == 10
    bed.act(1_500)
    assert policy._gated.tenths == 10, "not yet"
    bed.act(2_000)
    assert policy._gated.tenths == 0
    served(bed, random=0, waited=0, latency_ns=271)
    bed.act(3_000)
    assert policy._gated.tenths == 0, "nothing was read: nothing is known"


def test_the_latency_of_the_node_that_reads_counts() -> None:
    """On two sockets a core waits longer for the other socket's memory."""
    bed = SmallBed("alto-numab2", tiers="two-socket-cxl")
    timing = bed.machine.timing
    timing.served[:] = 0
    timing.served[0, 1] = [10, 0, 0, 5]
    timing._remote_ns[0, 1] = 40.0
    timing.latency_ns[:] = 100.0
    assert timing.offcore() == (5 * 140.0, 10.0)


def test_demotions_and_moves_between_lower_nodes_pass() -> None:
    bed = Bed("alto-hemem-colloid", room=0, group_pages=512)
    policy: Alto = bed.policy  # type: ignore[assignment]
    policy._gated.gate(0)
    page = np.array([3], np.uint32)
    assert policy._gated.migrate(page, 1, "x").moved.tolist() == [3]
    assert policy._gated.migrate(page, 0, "x").moved.tolist() == []
    assert policy._gated.demote(np.array([4], np.uint32), 0, "x") == 1


@pytest.mark.parametrize("name", ALTOS)
def test_a_gate_that_is_open_changes_nothing_of_the_policy_behind_it(name: str) -> None:
    plain = name.removeprefix("alto-")
    beds = [Bed(policy, room=5, group_pages=512) for policy in (name, plain)]
    for bed in beds:
        faults = {} if plain == "hemem-colloid" else {"latency_ms": 5}
        for at_ms in (10, 1_100, 2_200):
            bed.see(at_ms, 500, 501, 502, count=9, **faults)
            bed.act(at_ms)
    assert beds[0].machine.place.tolist() == beds[1].machine.place.tolist()
    assert beds[0].world.decisions.held_back() == beds[1].world.decisions.held_back()
    assert beds[0].policy.counters() == beds[1].policy.counters()
    assert beds[0].policy.tracker_bytes() == beds[1].policy.tracker_bytes()
    assert beds[0].machine.demotion_enabled == beds[1].machine.demotion_enabled


def plain_gate(seconds: list[tuple[int, float]]) -> list[set[int]]:
    """The pages on top after each second, written from the description: n of ten candidates pass, spread evenly.

    seconds  how many pages of the slow tier fault, the lowest first, and the cycles measured before
    """
    found, on_top, due = [], set(), 0
    for many, cycles in seconds:
        share = (
            0 if cycles <= 40 else 1 if cycles <= 60 else 3 if cycles <= 80 else 5 if cycles <= 100 else 10
        )
        for page in sorted(set(range(PAGES)) - on_top)[:many]:
            due += share
            if due >= 10:
                due -= 10
                on_top.add(page)
        found.append(set(on_top))
    return found


@given(
    st.lists(st.tuples(st.integers(0, PAGES), st.sampled_from([20.0, 50.0, 70.0, 90.0, 150.0])), max_size=8)
)
def test_it_does_what_its_description_says(seconds: list[tuple[int, float]]) -> None:
    bed = SmallBed("alto-numab2", on_top=0, room=PAGES)
    bed.machine.demotion_enabled = False
    for at, ((many, cycles), after) in enumerate(zip(seconds, plain_gate(seconds), strict=True)):
        served(bed, random=1_000, waited=1_000, latency_ns=cycles / 2.2)
        bed.act(1_000 * at + 1_000)
        faulting = sorted(set(range(PAGES)) - bed.on_top())[:many]
        bed.fault(1_000 * at + 1_100, dict.fromkeys(faulting, 5))
        assert bed.on_top() == after
