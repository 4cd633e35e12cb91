"""What pghot in user space moves, picks and pays, simulated, in figures worked by hand with limits on both sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pghot.engine.accesses import Accesses
from pghot.policies.hemem import HeMem
from pghot.policies.none import NoMoves
from pghot.policies.policy import Policy
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import load_topology
from pghot.sim.sources.abit import AbitScan
from pghot.sim.sources.pebs import Pebs
from pghot.sim.user_space.live_loop import SAMPLE_NS, LiveLoop
from pghot.sim.user_space.user_space_machine import (
    LRU_ASK_NS,
    QUERY_NS,
    STATE_BYTES,
    THREAD,
    UserSpaceMachine,
)

MS = 1e6  # ns
PERIOD_MS = 2_000  # of ageing


def small(on_top: int = 0, now_ms: float = 0.0) -> SimulatedMachine:
    """1,000 pages, the first `on_top` on a fast node of 400; its floor is four pages, 1 %."""
    machine = SimulatedMachine(load_topology("dram-cxl"), 1_000, 4096, np.array([400, 2_000]), 1)
    machine.place[:] = 1
    machine.place[:on_top] = 0
    machine.free_pages[:] = [400 - on_top, 1_000 + on_top]
    machine.now_ns = now_ms * MS
    return machine


def seen_by(
    machine: SimulatedMachine, group_pages: float = 1.0, unseen_is_cold: bool = True
) -> UserSpaceMachine:
    return UserSpaceMachine(machine, 4096, group_pages, unseen_is_cold=unseen_is_cold)


def after(machine: SimulatedMachine, user_space: UserSpaceMachine, ms: float) -> None:
    machine.now_ns += ms * MS
    user_space.tick()


def pages(*index: int) -> np.ndarray:
    return np.array(index, np.uint32)


def gone(machine: SimulatedMachine, on_top: int) -> list[int]:
    return np.flatnonzero(machine.place[:on_top] == 1).tolist()  # type: ignore[no-any-return]


def test_what_things_cost() -> None:
    """1.5 ms to read the generations, and 32,768 pages to look up at 154 ns."""
    assert (QUERY_NS, SAMPLE_NS, STATE_BYTES, LRU_ASK_NS) == (154, 240, 7, 1_500_000 + 32_768 * 154)
    assert seen_by(small()).hash_list_step_ns == 0


@pytest.mark.parametrize(("free", "room"), [(3, 0), (4, 0), (5, 1), (400, 396)])
def test_room_ends_at_the_floor(free: int, room: int) -> None:
    machine = small()
    machine.free_pages[0] = free
    assert seen_by(machine).room(0) == room


def test_periods_of_ageing_are_two_kernel_seconds() -> None:
    for now_ns, group_pages, period in (
        (3_999_999_000, 1.0, 1),
        (4_000_000_000, 1.0, 2),
        (250_000_000, 16.0, 2),
    ):
        machine = small()
        subject = seen_by(machine, group_pages)
        machine.now_ns = now_ns
        assert subject._period() == period


def test_the_guard_and_the_kernels_walks_keep_the_kernels_clock() -> None:
    machine = small(now_ms=500.0)
    assert seen_by(machine, 4.0)._guard._then_ms == 2_000
    assert machine.generations.ageing_ns == 100 * MS, "the machine's own"
    seen_by(machine, 4.0, unseen_is_cold=False)
    assert machine.generations.ageing_ns == 1_000 * MS / 4


def test_a_single_page_moves_and_no_page_costs_nothing() -> None:
    machine = small()
    subject = seen_by(machine)
    after(machine, subject, 10)
    found = subject.migrate(pages(500), 0, "any")
    assert (found.moved.tolist(), found.failed.tolist(), subject.promoted) == ([500], [], 1)
    paid_ns = machine.thread(THREAD).used_ns
    assert paid_ns == 1_240 + 4_000 + 154
    assert subject.migrate(pages(500), 0, "any").moved.tolist() == []
    assert subject.demote(pages(), 0, "any") == 0
    assert machine.thread(THREAD).used_ns == paid_ns


def test_what_goes_down_is_no_promotion_and_spends_no_rate() -> None:
    machine = small(on_top=10)
    subject = seen_by(machine)
    after(machine, subject, 10)
    budget = subject.pages_in_budget("any")
    assert subject.migrate(pages(1, 2, 3), 1, "any").moved.tolist() == [1, 2, 3]
    assert (subject.promoted, subject.pages_in_budget("any")) == (0, budget)
    subject.migrate(pages(1, 2), 0, "any")
    assert (subject.promoted, subject.returned, subject.pages_in_budget("any")) == (2, 0, budget - 2)


def test_a_page_is_cold_two_periods_after_it_was_seen() -> None:
    for periods, moved in ((1, 0), (2, 5)):
        machine = small(on_top=396)
        subject = seen_by(machine)
        after(machine, subject, PERIOD_MS)
        subject.saw(np.arange(396, dtype=np.uint32), 0, 0.0)
        after(machine, subject, periods * PERIOD_MS)
        assert len(subject.migrate(pages(*range(500, 505)), 0, "any").moved) == moved


def test_the_longest_unseen_go_first_and_of_equals_the_lowest() -> None:
    machine = small(on_top=396)
    subject = seen_by(machine)
    subject._seen[:396] = 100
    subject._seen[[7, 300, 20, 30]] = [90, 50, 90, 95]
    machine.now_ns = 102 * PERIOD_MS * MS
    assert subject._coldest(0, 6).tolist() == [300, 7, 20, 30, 0, 1]
    subject._seen[[7, 300]] = [-300, -200]  # counted no further than 255
    assert subject._coldest(0, 3).tolist() == [7, 300, 20]


def test_without_any_rate_room_is_made_for_one_page() -> None:
    """So that a page can move as soon as the rate allows it."""
    machine = small(on_top=396)
    subject = seen_by(machine)
    machine.now_ns = 10 * PERIOD_MS * MS  # and nothing earned: no tick
    assert subject.pages_in_budget("any") == 0
    assert subject.migrate(pages(500, 501), 0, "any").failed.tolist() == [500, 501]
    assert gone(machine, 396) == [0]


@pytest.mark.parametrize(("free", "asks"), [(2, 0), (1, 1)])
def test_the_kernel_is_asked_only_where_room_is_short(free: int, asks: int) -> None:
    """Two pages come."""
    machine = small(on_top=396 - free)
    subject = seen_by(machine, unseen_is_cold=False)
    machine.generations.sequence = 3
    after(machine, subject, 10)
    subject.migrate(pages(500, 501), 0, "any")
    assert len(gone(machine, 396 - free)) == asks
    # Two pages come up; with each demotion a page goes down, which is a flush of its own.
    up_ns, down_ns = 2 * (1_240 + 154) + 4_000, 1_240 + 4_000 + LRU_ASK_NS
    assert machine.thread(THREAD).used_ns == up_ns + asks * down_ns


def loop_of(policy: Policy[Any], group_pages: float = 1.0) -> tuple[LiveLoop, LabWorld]:
    world = LabWorld(small(), 1_000, 4096, group_pages, 0, None)  # type: ignore[arg-type]
    loop = LiveLoop(policy, [Pebs])
    loop.start(world)
    world.machine.now_ns = 100 * MS / group_pages
    return loop, world


@pytest.mark.parametrize(("source", "rests"), [(Pebs, {"busy": 1}), (AbitScan, {})])
def test_a_walk_is_part_of_its_round(source: Any, rests: dict[str, int]) -> None:
    """The thread is busy with the walk itself, so the round goes on with what it found."""
    loop, world = loop_of(NoMoves())
    world.machine.thread(THREAD).run(0.0, 200 * MS)
    loop.observe(world, source, Accesses(pages(1), np.zeros(1, np.int16), np.ones(1, np.uint32), 100))
    loop.act(world)
    assert world.decisions.held_back() == rests


@pytest.mark.parametrize(
    ("policy", "group_pages", "paid"),
    [(NoMoves, 512.0, 1_024), (HeMem, 512.0, 2), (HeMem, 64.0, 16), (HeMem, 1.0, 1_024)],
)
def test_samples_are_paid_by_the_unit(policy: type[Policy[Any]], group_pages: float, paid: int) -> None:
    """1,024 samples of a page. Where a policy counts pages each is one; a unit of 2 MiB is 512 of them, or K."""
    loop, world = loop_of(policy(), group_pages)
    seen = Accesses(pages(500), np.zeros(1, np.int16), np.full(1, 1_024, np.uint32), 100)
    loop.observe(world, Pebs, seen)
    loop._take(Pebs, seen)  # type: ignore[arg-type]
    assert world.machine.thread(THREAD).used_ns == paid * 240 + 154
    assert loop.tracker_bytes() == loop._policy.tracker_bytes() + 7 * 1_000


class Heard(NoMoves):
    """Remembers the counts that it was told."""

    def observe(self, world: Any, source: Any, accesses: Accesses) -> None:
        self.count = accesses.count.tolist()


@pytest.mark.parametrize(
    ("hint_fault", "latency", "count"),
    [(True, [1_000, 1_001], [2, 1]), (False, [1_000, 1_001], [5, 5]), (True, None, [5, 5])],
)
def test_only_a_hint_fault_with_a_latency_is_fast_or_slow(
    hint_fault: bool, latency: list[int] | None, count: list[int]
) -> None:
    policy = Heard()
    loop, _ = loop_of(policy)
    waited = None if latency is None else np.array(latency, np.uint32)
    five = np.full(2, 5, np.uint32)
    loop._take(Pebs, Accesses(pages(1, 2), np.zeros(2, np.int16), five, 100, hint_fault, waited))  # type: ignore[arg-type]
    assert policy.count == count
