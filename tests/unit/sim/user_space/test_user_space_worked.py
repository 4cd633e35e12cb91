"""pghot in user space, simulated: rounds, rates, room and costs in figures computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pghot.engine.accesses import Accesses, Source
from pghot.policies.none import NoMoves
from pghot.policies.policy import World
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import load_topology
from pghot.sim.sources.hintfaults import HintFaults
from pghot.sim.sources.pebs import Pebs
from pghot.sim.user_space.live_loop import LiveLoop
from pghot.sim.user_space.user_space_machine import THREAD, UserSpaceMachine

MS = 1e6  # ns
AGEING_MS = 2000


def small(on_top: int = 0) -> SimulatedMachine:
    """10,000 pages, the first `on_top` of them on a fast node of 1,000; its floor is 1 %, 10 pages."""
    machine = SimulatedMachine(load_topology("dram-cxl"), 10_000, 4096, np.array([1_000, 20_000]), 1)
    machine.place[:] = 1
    machine.place[:on_top] = 0
    machine.free_pages[:] = [1_000 - on_top, 10_000 + on_top]
    return machine


def after(machine: SimulatedMachine, user_space: UserSpaceMachine, ms: float) -> None:
    machine.now_ns += ms * MS
    user_space.tick()


def pages(first: int, last: int) -> Any:
    return np.arange(first, last, dtype=np.uint32)


def test_moves_keep_to_the_rate_and_cost_the_kernels_work_and_a_walk_for_each_page() -> None:
    machine = small()
    seen = UserSpaceMachine(machine, 4096, 1.0, unseen_is_cold=True)
    assert (seen.pages_in_budget("any"), seen.room(0)) == (0, 990)
    after(machine, seen, 10)
    assert seen.pages_in_budget("any") == 655  # 65,536 pages a second
    moves = seen.migrate(pages(5_000, 5_700), 0, "any")
    assert (len(moves.moved), len(moves.failed)) == (655, 45)
    assert machine.place[pages(5_000, 5_700)].tolist() == [0] * 655 + [1] * 45
    # 1,240 ns to migrate and 154 to find each; two batches flush, 4,000 ns each, and interrupt the program's thread.
    assert machine.thread(THREAD).used_ns == pytest.approx(655 * 1_394 + 2 * 4_000)
    assert machine.ledger.moving_app_ns == 2 * 1_000
    assert seen.busy
    assert seen.pages_in_budget("any") == 0
    after(machine, seen, 1)
    assert seen.pages_in_budget("any") == 65  # 0.36 were left over, and 65.536 are earned


def test_a_page_that_stands_for_many_takes_as_much_of_the_rate() -> None:
    machine = small()
    seen = UserSpaceMachine(machine, 4096, 16.0, unseen_is_cold=True)
    after(machine, seen, 10)  # 160 ms of the kernel's clock: 10,485 real pages
    assert seen.pages_in_budget("any") == 655


def test_room_is_made_by_demoting_what_was_unseen_for_two_ageing_periods() -> None:
    machine = small(on_top=990)
    seen = UserSpaceMachine(machine, 4096, 1.0, unseen_is_cold=True)
    after(machine, seen, 10 * AGEING_MS)
    seen.saw(pages(0, 50), 50, 240.0)
    after(machine, seen, 100)
    assert len(seen.migrate(pages(5_000, 5_100), 0, "any").moved) == 100
    assert machine.place[pages(0, 200)].tolist() == [0] * 50 + [1] * 100 + [0] * 50
    assert machine.free_pages[0] == 10
    seen.demotion_enabled = False  # a policy that makes room itself
    assert len(seen.migrate(pages(6_000, 6_001), 0, "any").moved) == 0


def test_what_came_back_from_a_demotion_stays_for_thirty_periods() -> None:
    machine = small(on_top=990)
    seen = UserSpaceMachine(machine, 4096, 1.0, unseen_is_cold=True)
    after(machine, seen, AGEING_MS)
    assert seen.demote(pages(0, 990), 0, "any") == 990
    assert len(seen.migrate(pages(0, 990), 0, "any").moved) == 990
    for periods, demoted in ((29, 0), (1, 100)):
        after(machine, seen, periods * AGEING_MS)
        assert len(seen.migrate(pages(5_000, 5_100), 0, "any").moved) == demoted


@pytest.mark.parametrize("unseen_is_cold", [True, False])
def test_where_no_source_sees_the_top_tier_the_kernel_picks_by_what_is_used(unseen_is_cold: bool) -> None:
    """Of 990 pages on top the program uses the first 490. A source that is blind there reports others."""
    machine = small(on_top=990)
    seen = UserSpaceMachine(machine, 4096, 1.0, unseen_is_cold=unseen_is_cold)
    moved, worked_ns = [], []
    for time_ms in (20_000, 20_100, 21_000, 22_000):
        after(machine, seen, time_ms - machine.now_ns / MS)
        seen.saw(pages(490, 990), 0, 240.0)
        machine.generations.young[:490] = 1
        before_ns = machine.thread(THREAD).used_ns
        moved.append(
            len(seen.migrate(pages(5_000 + time_ms - 20_000, 5_100 + time_ms - 20_000), 0, "any").moved)
        )
        worked_ns.append(machine.thread(THREAD).used_ns - before_ns)
    on_top = machine.place[:990] == 0
    if unseen_is_cold:
        assert moved == [100] * 4
        assert on_top.tolist() == [False] * 400 + [True] * 590  # the hottest
        return
    # A walk at 20 s finds what is young; the next is due a second later, and only then anything is two walks old.
    assert moved == [0, 0, 100, 100]
    assert on_top.tolist() == [True] * 490 + [False] * 200 + [True] * 300
    # Each time the kernel is asked, 1.5 ms, and a section is looked at, 32,768 pages of 154 ns; a walk takes 25 ns for
    # each of 10,000 pages.
    asking, walk = 1.5e6 + 32_768 * 154, 250_000
    assert worked_ns[:2] == pytest.approx([asking + walk, asking])
    # Down go 100 pages and up come 100, of 1,240 ns, with a flush of 4,000 each way; what comes up is found first.
    assert worked_ns[2] == pytest.approx(asking + walk + 2 * (100 * 1_240 + 4_000) + 100 * 154)


@given(st.floats(0, 1), st.integers(0, 2**32 - 1), st.lists(st.integers(1, 600), min_size=1, max_size=6))
@settings(max_examples=30)
def test_what_is_in_use_never_goes_down_under_a_blind_source(
    share: float, seed: int, wanted: list[int]
) -> None:
    """Whatever a source says of it, and however much room is wanted."""
    machine = small(on_top=990)
    seen = UserSpaceMachine(machine, 4096, 1.0, unseen_is_cold=False)
    used = np.random.default_rng(seed).random(990) < share
    hot = np.flatnonzero(used).astype(np.uint32)
    first = 2_000
    for number, count in enumerate(wanted):
        after(machine, seen, 1_000)
        machine.generations.young[hot] = 1
        seen.saw(np.flatnonzero(~used).astype(np.uint32), 0, 240.0)
        moved = len(seen.migrate(pages(first, first + count), 0, "any").moved)
        first += count
        assert (machine.place[hot] == 0).all()
        assert moved == 0 or number >= 1  # nothing is two looks old before the second
    assert (machine.place[:990] == 1).sum() == (machine.place[2_000:] == 0).sum()


def test_what_the_kernel_demoted_and_comes_back_counts_as_returned() -> None:
    machine = small(on_top=990)
    seen = UserSpaceMachine(machine, 4096, 1.0, unseen_is_cold=False)
    for time_ms in (20_000, 21_000):
        after(machine, seen, time_ms - machine.now_ns / MS)
        seen.migrate(pages(5_000, 5_100), 0, "any")
    assert machine.place[:100].tolist() == [1] * 100
    assert seen.returned == 0
    seen.migrate(pages(0, 10), 0, "any")
    assert seen.returned == 10


class Listener(NoMoves):
    """A policy that remembers what it was told, and when."""

    name, summary = "listener", "for tests"

    def start(self, world: World) -> None:
        self.machine: Any = world.machine
        self.heard: list[tuple[float, list[int], list[int]]] = []
        self.acted: list[float] = []

    def observe(self, world: World, source: Source, accesses: Accesses) -> None:
        self.heard.append((accesses.time_ms, accesses.page.tolist(), accesses.count.tolist()))

    def act(self, world: World) -> None:
        self.acted.append(world.now_ms)


def loop_on(machine: SimulatedMachine) -> tuple[LiveLoop, Listener, LabWorld]:
    listener = Listener()
    world = LabWorld(machine, 10_000, 4096, 1.0, 0, None)  # type: ignore[arg-type]
    loop = LiveLoop(listener, [Pebs])
    loop.start(world)
    return loop, listener, world


def test_rounds_come_every_100_ms_and_take_what_waited_in_the_rings() -> None:
    machine = small()
    loop, listener, world = loop_on(machine)
    for now_ms in range(30, 270, 30):
        machine.now_ns = now_ms * MS
        seen = Accesses(pages(now_ms, now_ms + 1), np.zeros(1, np.int16), np.full(1, 3, np.uint32), now_ms)
        loop.observe(world, Pebs, seen)
        loop.act(world)
    assert listener.acted == [120, 240]
    assert listener.heard == [(120, [page], [3]) for page in (30, 60, 90, 120)] + [
        (240, [page], [3]) for page in (150, 180, 210, 240)
    ]
    # Three samples of 240 ns and one page to ask for, 154 ns, in each of eight reports.
    assert machine.thread(THREAD).used_ns == 8 * (3 * 240 + 154)
    assert world.decisions.held_back() == {}


def test_a_round_waits_for_the_one_before_it() -> None:
    machine = small()
    loop, listener, world = loop_on(machine)
    machine.thread(THREAD).run(0.0, 250 * MS)
    for now_ms in (100, 200, 300):
        machine.now_ns = now_ms * MS
        loop.act(world)
    assert listener.acted == [300]
    assert world.decisions.held_back() == {"busy": 2}


def test_samples_of_a_whole_unit_are_paid_once_for_each_page_of_it() -> None:
    """A policy of 2 MiB units, and each page stands for 512: samples of 512 are reported, those of one are paid."""
    machine, listener = small(), Listener()
    type(listener).granularity_bytes = 2 << 20  # type: ignore[attr-defined]
    try:
        loop = LiveLoop(listener, [Pebs])
        loop.start(LabWorld(machine, 10_000, 4096, 512.0, 0, None))  # type: ignore[arg-type]
    finally:
        del type(listener).granularity_bytes  # type: ignore[attr-defined]
    machine.now_ns = 100 * MS / 512
    world = LabWorld(machine, 10_000, 4096, 512.0, 0, None)  # type: ignore[arg-type]
    seen = Accesses(pages(1, 2), np.zeros(1, np.int16), np.full(1, 1_024, np.uint32), 100)
    loop.observe(world, Pebs, seen)
    loop.act(world)
    assert listener.heard[0][1:] == ([1], [1_024])
    assert machine.thread(THREAD).used_ns == 2 * 240 + 154


def test_a_fast_hint_fault_counts_twice() -> None:
    machine = small()
    loop, listener, world = loop_on(machine)
    machine.now_ns = 100 * MS
    latency = np.array([0, 1_000, 1_001], np.uint32)
    faults = Accesses(pages(1, 4), np.zeros(3, np.int16), np.ones(3, np.uint32), 100, True, latency)
    loop.observe(world, HintFaults, faults)
    loop.act(world)
    assert listener.heard == [(100, [1, 2, 3], [2, 2, 1])]


@pytest.mark.parametrize(("sources", "moved"), [((HintFaults,), 0), ((HintFaults, Pebs), 100)])
def test_ages_pick_once_any_source_sees_the_top_tier(sources: tuple[Any, ...], moved: int) -> None:
    """Every page on top was unseen since ever, and nothing asked the kernel's LRU yet."""
    machine = small(on_top=990)
    listener = Listener()
    LiveLoop(listener, sources).start(LabWorld(machine, 10_000, 4096, 1.0, 0, None))  # type: ignore[arg-type]
    after(machine, listener.machine, 20_000)
    assert len(listener.machine.migrate(pages(5_000, 5_100), 0, "any").moved) == moved


def test_the_kernels_own_demotion_stays_off() -> None:
    machine = small()
    machine.demotion_enabled = True
    loop_on(machine)
    assert not machine.demotion_enabled
