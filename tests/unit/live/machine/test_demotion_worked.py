"""Who makes room, and in which order, by worked examples."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from builders.live_loop import START, FakeKernel, addresses, install, maps_line, mover, seen, set_ages
from pghot.live.machine.demotion import Demotion
from pghot.live.machine.pages import DEMOTED, PROMOTED, Pages
from pghot.policies.machine import Moves

PID = 500


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """One program with 8 pages on the fast node."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    made = FakeKernel(tmp_path)
    made.program(PID, [maps_line(START, 8)])
    made.populate(PID, 0, 8, 0)
    install(made, monkeypatch)
    return made


def test_the_longest_unseen_come_first_and_equals_in_address_order(kernel: FakeKernel) -> None:
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 8))
        set_ages(spaces, page, [2, 1, 255, 9, 2, 0, 9, 3])
        coldest = machine.demotion.coldest
        order = page[[2, 3, 6, 7, 0, 4]].tolist()  # 255, 9, 9, 3, 2, 2; 1 and 0 are seen lately
        for most in range(1, 6):
            assert coldest(0, most).tolist() == order[:most]
        assert sorted(coldest(0, 6).tolist()) == sorted(order)
        assert sorted(coldest(0, 100).tolist()) == sorted(order)
        assert sorted(coldest(0, 100, age=9).tolist()) == sorted(order[:3])
        assert coldest(1, 100).tolist() == []


def test_a_page_that_came_back_must_be_unseen_for_thirty_periods(kernel: FakeKernel) -> None:
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 8))
        set_ages(spaces, page, [29, 30, 29, 29, 40, 41, 1, 2])
        both = PROMOTED | DEMOTED
        spaces.pages.marks[page] |= np.array([both, both, PROMOTED, DEMOTED, both, both, 0, 0], np.uint8)
        assert sorted(machine.demotion.coldest(0, 100).tolist()) == page[[1, 2, 3, 4, 5, 7]].tolist()
        # A longer age than thirty holds for it too.
        assert sorted(machine.demotion.coldest(0, 100, age=41).tolist()) == [page[5]]


class Taker:
    """A mover whose nodes take so many pages each."""

    def __init__(self, room: dict[int, int]) -> None:
        self.room, self.asked = room, []

    def move(self, page: np.ndarray, target: int) -> Moves:
        self.asked.append((target, page.tolist()))
        fit = self.room[target]
        return Moves(page[:fit], page[fit:])


def made(taker: Taker) -> Demotion:
    return Demotion(Pages(1), None, taker, by_age=True, lru=None)  # type: ignore[arg-type]


def test_what_one_node_does_not_take_goes_to_the_next() -> None:
    page = np.array([5, 6, 7, 8, 9], np.uint32)
    taker = Taker({1: 2, 2: 0, 3: 2, 4: 9})
    assert made(taker).demote(page, (1, 2, 3)) == 4
    assert taker.asked == [(1, [5, 6, 7, 8, 9]), (2, [7, 8, 9]), (3, [7, 8, 9])]
    taker = Taker({1: 2, 4: 9, 3: 2})
    assert made(taker).demote(page, (1, 4, 3)) == 5
    assert taker.asked == [(1, [5, 6, 7, 8, 9]), (4, [7, 8, 9])]  # nobody is left for node 3
    taker = Taker({1: 9})
    assert made(taker).demote(page[:0], (1,)) == 0
    assert taker.asked == []


@pytest.mark.parametrize("how", ["off", "auto", "move_pages", "reclaim", "lru_gen"])
def test_nobody_makes_room_when_it_is_off_or_nothing_is_below(kernel: FakeKernel, how: str) -> None:
    with mover(kernel, demotion=how) as (machine, spaces):
        spaces.pages.set_age(seen(machine, spaces, PID, addresses(0, 8)), 255)
        machine.demotion.make_room(0, 5, (), 0)
        if how == "off":
            machine.demotion.make_room(0, 5, (1,), 0)
    assert kernel.moves == []


def test_room_is_made_for_as_many_as_are_short(kernel: FakeKernel) -> None:
    kernel.program(PID + 1, [maps_line(START, 20)])
    kernel.populate(PID + 1, 0, 20, 1)
    kernel.free[0] = 163 + 125 + 2  # floor, what a CPU hides, and two pages
    kernel._show_free()
    with mover(kernel) as (machine, spaces):
        mine = seen(machine, spaces, PID, addresses(0, 8))
        set_ages(spaces, mine, [5, 5, 5, 9, 9, 1, 1, 1])
        moves = machine.migrate(seen(machine, spaces, PID + 1, addresses(0, 6)), 0, "kmigrated")
        # Six come, two fit: four must go, the two of age 9 and the first two of age 5.
        assert len(moves.moved) == 6
        assert machine.place[mine].tolist() == [1, 1, 0, 1, 1, 0, 0, 0]
        assert (machine.counts.promoted, machine.counts.demoted) == (6, 4)
