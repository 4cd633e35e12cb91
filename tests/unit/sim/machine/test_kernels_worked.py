"""The compiled kernels of the machine on a few pages, worked by hand: allocation, misses, ageing and moves."""

from __future__ import annotations

import numpy as np

from pghot.arrays import NOWHERE
from pghot.sim.machine.accounts import KernelThread, Ledger
from pghot.sim.machine.lru import AGEING_MS, MIN_GENERATIONS, Generations, age_pages, take_old
from pghot.sim.machine.relocation import movable, relocate
from pghot.sim.machine.touch import Rows, allocate, note_writes, serve, touch


def u32(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint32)


def u8(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint8)


def test_pages_go_where_they_are_wanted_then_along_the_zonelist() -> None:
    """Free are 2, 3 and 9 pages, of which 1, 1 and 8 stay free. Page 0 is placed already. Page 1 is wanted on node 2,
    and page 2 too, where there is no room any more: its CPU is on node 1. Then node 1 is full, and then node 0."""
    place, free = u8(1, *[NOWHERE] * 6), np.array([2, 3, 9])
    preferred = np.array([-1, 2, 2, -1, -1, -1, 0], np.int16)
    fallback = np.array([[0, 1, 2], [1, 0, 2], [2, 1, 0]])
    failed = allocate(
        u32(0, 1, 2, 3, 4, 5, 6), np.array([0, 0, 1, 1, 1, 2, 0], np.int16), place, preferred, free,
        np.array([1, 1, 8]), fallback,
    )  # fmt: skip
    assert place.tolist() == [1, 2, 1, 1, 0, NOWHERE, NOWHERE]
    assert (failed, free.tolist()) == (2, [1, 1, 8])


def test_misses_by_the_node_that_asked_and_the_one_that_served() -> None:
    """Page 1: 10 misses, 4 of them sequential, and 3 of 12 touches are stores. Page 2 missed nothing, 3 is nowhere."""
    served, young = np.full((2, 2, 4), 99.0), np.zeros(4, np.uint8)
    rows = Rows(
        u32(0, 1, 1, 2, 3), u32(8, 12, 4, 5, 1), u32(8, 10, 4, 0, 1), u32(0, 4, 4, 0, 0), u32(0, 3, 4, 5, 1),
        np.array([0, 1, 0, 0, 0], np.int16),
    )  # fmt: skip
    overlap = np.array([0.5, 0.25, 1, 1], np.float32)
    assert serve(*rows, u8(0, 1, 0, NOWHERE), young, overlap, served) == 1
    assert served[0, 0].tolist() == [8, 0, 0, 4]
    assert served[1, 1].tolist() == [6, 4, 2.5, 1.5]  # 10 x 3 / 12 are dirty
    assert served[0, 1].tolist() == [0, 4, 4, 0]
    assert served[1, 0].tolist() == [0, 0, 0, 0]
    assert young.tolist() == [1, 1, 1, 0]
    kept = rows.only(np.array([True, False, False, False, True]))
    assert [column.tolist() for column in kept] == [[0, 3], [8, 1], [8, 1], [0, 0], [0, 1], [0, 0]]


def test_what_is_touched_first_and_what_is_young() -> None:
    young, first = np.zeros(3, np.uint8), np.zeros(3, np.bool_)
    assert touch(u32(0, 2, 2), u8(1, 1, NOWHERE), young, first) == 2
    assert (young.tolist(), first.tolist()) == ([1, 0, 0], [False, False, True])


def test_rewritten_pages_on_a_node_come_once_each() -> None:
    """Page 0 is read, 1 elsewhere, 2 written by two nodes, 3 for the first time, 4 once."""
    size, out = np.zeros(5, np.int64), np.zeros(6, np.uint32)
    found = note_writes(
        u32(0, 1, 2, 2, 3, 4), u32(0, 1, 1, 2, 1, 1), np.array([False, False, False, True, False]),
        np.arange(10, 15), size, u8(1, 0, 1, 1, 1), 1, out,
    )  # fmt: skip
    assert (found, out[:2].tolist()) == (2, [2, 4])
    assert size.tolist() == [0, 11, 12, 0, 14]


def test_pages_that_can_move_and_what_a_move_changes() -> None:
    """Ranks 1, 0 and 2. Pages 0 and 2 climb to node 1, 2 not for the first time; page 3 was there."""
    place, out = u8(0, NOWHERE, 2, 1), np.zeros(4, np.uint32)
    assert movable(u32(3, 2, 1, 0), place, 1, out) == 2
    assert out[:2].tolist() == [2, 0]
    free, moving = np.array([5, 6, 7]), np.array([0.0, 1.0, 0.0])
    rank, before, promoted = (
        np.array([1, 0, 2]),
        np.array([False, False, True, False]),
        np.zeros(2, np.uint32),
    )
    assert relocate(u32(2, 0), 1, 100.0, place, rank, free, moving, before, promoted) == (2, 0, 1)
    assert (place.tolist(), free.tolist()) == ([1, NOWHERE, 1, 1], [6, 4, 8])
    assert (moving.tolist(), promoted.tolist()) == ([100.0, 201.0, 100.0], [2, 0])
    assert before.tolist() == [True, False, True, False]
    assert relocate(u32(0, 3), 2, 100.0, place, rank, free, moving, before, promoted) == (0, 2, 0)
    assert free.tolist() == [6, 6, 6]
    alike = np.array([0, 0, 1])
    assert relocate(u32(2), 0, 100.0, place, alike, free, moving, before, promoted) == (0, 0, 0), "one tier"


def test_a_walk_moves_young_pages_into_the_youngest_generation() -> None:
    young, generation = u8(1, 0, 1), u32(3, 4, 5)
    age_pages(young, generation, 9)
    assert (young.tolist(), generation.tolist()) == ([0, 0, 0], [9, 4, 9])


def test_old_pages_are_taken_from_the_head_of_a_queue() -> None:
    """3 is elsewhere, 1 is young, 4 was taken: 0 and 5 are found when five of six were looked at."""
    place, young = u8(0, 0, 0, 1, 0, 0), u8(0, 1, 0, 0, 0, 0)
    taken, out = np.array([False] * 4 + [True, False]), np.zeros(2, np.uint32)
    assert take_old(u32(3, 0, 1, 4, 5, 2), place, 0, young, taken, out) == (2, 5)
    assert out.tolist() == [0, 5]
    assert take_old(u32(3, 1), place, 0, young, taken, out) == (0, 2)


def test_the_youngest_two_generations_are_spared_and_a_walk_is_due_once_in_its_time() -> None:
    """Pages 0 to 3, touched before walks 1, 2 and 3, and never. After walk 3 what is of 0 or 1 is old."""
    assert (AGEING_MS, MIN_GENERATIONS) == (100.0, 2)
    ages, place = Generations(4, 100.0), np.zeros(4, np.uint8)
    assert ages.youngest(place, 0, 4).tolist() == []
    for page in range(3):
        ages.young[page] = 1
        ages.age(500.0)
    assert ages.generation.tolist() == [1, 2, 3, 0]
    assert ages.youngest(place, 0, 4).tolist() == [2]
    found, walks = ages.oldest(place, 0, 1, 599.0)
    assert (found.tolist(), walks) == ([3], 0)
    found, walks = ages.oldest(place, 0, 4, 599.0)
    assert (found.tolist(), walks) == ([0], 0), "3 was given before, and no walk is due before 600"
    found, walks = ages.oldest(place, 0, 2, 600.0)
    assert (found.tolist(), walks) == ([3, 0], 1), "a walk: all that is of 2 or less is old now, 3 first"
    assert ages.sequence == 4
    found, walks = ages.oldest(place, 0, 9, 1_000.0)
    assert (found.tolist(), walks) == ([1, 3, 0, 2], 1)
    assert not ages._taken.any()


def test_a_second_chance_for_what_was_touched_since() -> None:
    ages, place = Generations(3, 100.0), np.zeros(3, np.uint8)
    for walk in range(2):
        ages.age(float(walk))
    ages.young[1] = 1
    assert ages.oldest(place, 0, 3, 1.0)[0].tolist() == [0, 2]


def test_a_thread_copies_evenly_until_it_is_free() -> None:
    thread, moving = KernelThread(np.array([80.0, 0.0])), np.array([1.0, 1.0])
    thread.run(0.0, 100.0)
    thread.copy(20.0, 20.0, moving)  # 20 of the 80 ns that are left
    assert (moving.tolist(), thread.copying.tolist()) == ([21.0, 1.0], [60.0, 0.0])
    thread.copy(40.0, 60.0, moving)
    assert (moving.tolist(), thread.copying.tolist()) == ([81.0, 1.0], [0.0, 0.0])
    thread.run(300.0, 5.0)
    assert (thread.free_at_ns, thread.used_ns) == (305.0, 105.0)
    thread.run(300.0, 5.0)
    assert thread.free_at_ns == 310.0
    late = KernelThread(np.array([80.0]))
    late.run(0.0, 20.0)
    late.copy(0.0, 10.0, gone := np.zeros(1))
    late.copy(50.0, 10.0, gone)  # the slice took longer than the one before: what is left is copied after all
    assert (gone.tolist(), late.at_work) == ([80.0], False)
    late.copy(60.0, 10.0, gone)
    assert gone.tolist() == [80.0]


def test_accounts_begin_at_nothing() -> None:
    ledger = Ledger()
    assert all(not getattr(ledger, name) for name in Ledger.__slots__ if name != "served")
    assert len(ledger.served) == 0
    assert (KernelThread(np.zeros(1)).free_at_ns, KernelThread(np.zeros(1)).used_ns) == (0.0, 0.0)
