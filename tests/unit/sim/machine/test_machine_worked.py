"""Figures of the simulated machine that a mutation left unnoticed, by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from pydantic import ValidationError

from pghot.sim.machine.accounts import KernelThread
from pghot.sim.machine.costs import Costs
from pghot.sim.machine.curves import load_curve, stack_curves
from pghot.sim.machine.lru import Generations
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import Watermarks, load_topology

# docs/FACTS.md 8, and the estimates that the costs' own texts name.
CONSTANTS = {
    "migrate_4k_ns": 1240, "migrate_huge_gb_s": 11, "migrate_copy_share": 0.25, "shootdown_ns": 4000,
    "shootdown_ipi_ns": 1000, "hint_fault_ns": 1200, "age_pte_ns": 25, "flush_4k_ns": 250,
    "hash_list_step_ns": 20, "instruction_ns": 0.25, "mlp_random": 4, "mlp_sequential": 20, "mlp_strided": 10,
    "dma_4k_gb_s": 2.16, "dma_huge_gb_s": 12.65,
}  # fmt: skip
MORE_THAN_ZERO = ("migrate_4k_ns", "migrate_huge_gb_s", "dma_4k_gb_s", "dma_huge_gb_s")


def machine(fast_pages: int, pages: int = 100) -> SimulatedMachine:
    return SimulatedMachine(load_topology("dram-cxl"), pages, 4096, np.array([fast_pages, 1_000]), 1)


def touch(subject: SimulatedMachine, *page: int) -> None:
    rows = np.array(page, np.uint32)
    ones, none = np.ones(len(rows), np.uint32), np.zeros(len(rows), np.uint32)
    subject.run_slice(rows, ones, ones, none, none, np.zeros(len(rows), np.int16), 0)


def test_the_costs_are_the_published_ones() -> None:
    assert Costs().model_dump() == CONSTANTS


@pytest.mark.parametrize("name", CONSTANTS)
def test_no_cost_is_negative(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        Costs(**{name: -0.5})
    if name.startswith("mlp"):
        Costs(**{name: 1})
        with pytest.raises(ValidationError, match=name):
            Costs(**{name: 0.9})
    elif name in MORE_THAN_ZERO:
        with pytest.raises(ValidationError, match=name):
            Costs(**{name: 0})
    else:
        Costs(**{name: 0})


def test_distances_follow_the_latencies_where_none_are_given() -> None:
    """DRAM 100 ns and CXL 271 ns: ten times the ratio to the fastest, but another node is at least 11 away."""
    assert load_topology("dram-cxl").distance_matrix() == [[10, 27], [11, 10]]


def test_there_is_a_page_between_any_two_watermarks() -> None:
    """All three marks at 2 of 100 pages: only the rule keeps them apart."""
    alike = Watermarks(min=0.02, low=0.02, high=0.02)
    topology = load_topology("dram-cxl").model_copy(update={"watermarks": alike})
    subject = SimulatedMachine(topology, 100, 4096, np.array([100, 1_000]), 1)
    assert [int(mark[0]) for mark in (subject.min_pages, subject.low_pages, subject.high_pages)] == [2, 3, 4]


@pytest.mark.parametrize(
    ("demotion", "on_top"), [(True, range(14, 32)), (False, [*range(15), *range(15, 19)])]
)
def test_kswapd_makes_room_while_memory_is_touched_first(demotion: bool, on_top: Sequence[int]) -> None:
    """A node of 20 pages, of which the first stays free: 15 old ones are there when 17 more are touched in one slice.

    Watermarks at 1, 2 and 3 free pages. Four of the new ones fit. Then one page is free: with demotion two old ones go,
    and two more with every second page that comes, of which there are 13. So 2 + 6 x 2 go in all.
    """
    subject = machine(20)
    touch(subject, *range(15))
    for _ in range(4):
        subject.generations.age(subject.now_ns)
    subject.demotion_enabled = demotion
    subject.slice_ns = 1e9  # time for kswapd
    touch(subject, *range(15, 32))
    assert np.flatnonzero(subject.place == 0).tolist() == list(on_top)
    assert subject.ledger.demoted == (14 if demotion else 0)


def test_reclaim_demotes_what_is_asked_for_and_what_the_high_watermark_lacks() -> None:
    """9 pages free and 10 wanted: one lacks. With the 4 that are asked for, five go."""
    subject = machine(50)
    touch(subject, *range(41))
    for _ in range(4):
        subject.generations.age(subject.now_ns)
    subject.high_pages[0] = 10
    subject.slice_ns = 1e9  # time for kswapd
    assert int(subject.free_pages[0]) == 9
    assert subject.reclaim(0, 4) == 5
    subject.high_pages[0] = 3  # more is free than that: nothing lacks
    assert subject.reclaim(0, 4) == 4


def test_the_coldest_pages_are_those_of_the_oldest_generation_whatever_was_touched_since() -> None:
    """Ages in ageing walks: page 0 in the first, 1 in the second, 2 never; 3 was touched since the last walk."""
    ages = Generations(4, 1.0)
    place = np.zeros(4, np.uint8)
    for page in (0, 1):
        ages.young[page] = 1
        ages.age(float(page))
    ages.young[[3]] = 1
    assert ages.coldest(place, 0, 4).tolist() == [2, 0, 1, 3]
    ages.young[2] = 1  # touched since: no longer colder than any that was not
    assert ages.coldest(place, 0, 2).tolist() == [0, 1]


def test_a_thread_that_is_busy_longer_has_no_time_and_no_debt() -> None:
    thread = KernelThread(np.zeros(2))
    thread.run(0.0, 50.0)
    assert thread.budget_ns(10.0, 80.0) == 30.0
    assert thread.budget_ns(60.0, 80.0) == 20.0
    assert thread.budget_ns(10.0, 40.0) == 0.0


def test_a_shorter_curve_goes_on_at_its_last_throughput() -> None:
    """Beside a longer curve it gets points of 9/8, 10/8, ... of its last load, at as much of its last latency."""
    curves = sorted((load_curve(name) for name in ("ddr4", "cxl")), key=lambda curve: len(curve.load))
    short, long = curves
    missing = len(long.load) - len(short.load)
    assert missing > 0
    _, load, growth = stack_curves(list(curves))
    steps = [1 + step / 8 for step in range(1, missing + 1)]
    assert load[0, -missing:] == pytest.approx([short.load[-1] * step for step in steps])
    assert growth[0, -1, -missing:] == pytest.approx([short.growth[-1, -1] * step for step in steps])
    assert load[1].tolist() == long.load.tolist()
