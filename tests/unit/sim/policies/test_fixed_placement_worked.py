"""The search for a fixed placement and the exchanges of the oracle, on a handful of pages worked by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pghot.sim.lab_world import LabWorld, Tried
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import load_topology
from pghot.sim.policies import POLICIES
from pghot.sim.policies.fixed_placement import (
    FEW,
    Exchanges,
    _candidates,
    best_fixed_placement,
    each_page_once,
    exchanges,
    parts_of,
    place_by_heat,
)
from pghot.sim.policies.oracle_epoch import OracleEpoch, move_to


def test_each_node_takes_the_hottest_that_are_left_and_the_last_all_others() -> None:
    heat = np.array([5.0, 1.0, 3.0, 1.0, 4.0, 3.0])
    assert place_by_heat(heat, [1, 0, 2], [2, 1, 1]).tolist() == [1, 2, 0, 2, 1, 2]
    assert place_by_heat(heat, [0], [2]).tolist() == [0] * 6


def test_parts_are_halves_and_of_few_all_halves_down_to_single_ones() -> None:
    assert list(parts_of(0)) == []
    assert list(parts_of(1)) == [(0, 1)]
    assert list(parts_of(5)) == [(0, 5), (0, 2), (2, 4), (4, 5), *((one, one + 1) for one in range(5))]
    assert list(parts_of(32))[:4] == [(0, 32), (0, 16), (16, 32), (0, 8)]
    assert len(list(parts_of(32))) == 1 + 2 + 4 + 8 + 16 + 32
    assert list(parts_of(33)) == [(0, 33), (0, 16), (0, 8), (0, 4), (0, 2), (0, 1)]
    assert list(parts_of(64)) == [(0, 64), (0, 32), (0, 16), (0, 8), (0, 4), (0, 2)]


def shown(found: Exchanges) -> list[tuple[int, int, int, int]]:
    columns = (found.page, found.node, found.other, found.back)
    return list(zip(*(column.tolist() for column in columns), strict=True))


# Pages 0 and 1 are on node 0, 2 to 4 on node 1. What each would cost on nodes 0 and 1:
PLACE = np.array([0, 0, 1, 1, 1], np.uint8)
COSTS = np.array([[1.0, 2.0, 1.0, 3.0, 9.0], [3.0, 7.0, 7.0, 7.0, 9.0]])


def test_the_best_page_goes_into_the_room_and_the_others_change_places_with_the_cheapest() -> None:
    """On node 0 page 2 saves 6, and page 3 saves 4. Page 0 costs 2 more on node 1, page 1 costs 5 more.

    There is room for one page, so page 2 goes there alone. Pairs are formed of all: 2 for 0 gains 6 - 2 = 4, and 3 for
    1 would lose 1.
    """
    assert shown(exchanges(PLACE, COSTS, [0, 1], [1, 9])) == [(2, 0, 2, 0), (2, 0, 0, 1)]
    assert shown(exchanges(PLACE, COSTS, [0, 1], [0, 9])) == [(2, 0, 0, 1)]
    assert shown(exchanges(PLACE, COSTS, [0, 1], [2, 9])) == [(2, 0, 2, 0), (3, 0, 3, 0), (2, 0, 0, 1)]
    assert shown(exchanges(PLACE, COSTS, [0, 1], [-3, 9])) == [(2, 0, 0, 1)]
    assert shown(exchanges(PLACE, COSTS, [0], [3])) == []


@pytest.mark.parametrize(
    ("move_ns", "found"),
    [(1.9, [(2, 0, 2, 0), (2, 0, 0, 1)]), (2.0, [(2, 0, 2, 0)]), (5.9, [(2, 0, 2, 0)]), (6.0, [])],
)
def test_what_moves_saves_more_than_it_costs(move_ns: float, found: list[tuple[int, int, int, int]]) -> None:
    """Alone page 2 saves 6; the exchange saves 4 and costs two moves."""
    assert shown(exchanges(PLACE, COSTS, [0, 1], [1, 9], move_ns)) == found


def test_the_room_of_a_node_is_used_once_by_all_the_others() -> None:
    place = np.array([1, 2], np.uint8)
    costs = np.array([[1.0, 1.0], [5.0, 9.0], [9.0, 8.0]])
    assert shown(exchanges(place, costs, [0, 1, 2], [1, 0, 0])) == [(0, 0, 0, 0)]
    assert shown(exchanges(place, costs, [0, 1, 2], [2, 0, 0])) == [(1, 0, 1, 0), (0, 0, 0, 0)]  # 7, then 4


def test_no_page_is_in_two_exchanges() -> None:
    """The second makes room by what the first moves; the fourth moves what made room for the first."""
    columns = np.array([[3, 0, 0], [2, 0, 3], [1, 0, 4], [0, 0, 5]]).T  # page, node, other
    page, node, other = (
        columns[0].astype(np.uint32),
        columns[1].astype(np.uint8),
        columns[2].astype(np.uint32),
    )
    found = Exchanges(page, node, other, np.ones(4, np.uint8))
    assert each_page_once([found], 6).page.tolist() == [3, 1]
    assert found.part(0, 1, np.array([0, 1, 1, 1, 1, 1], np.uint8)).tolist() == [1, 1, 1, 0, 1, 1]


def test_exchanges_are_tried_together_in_which_no_page_moves_twice_and_of_few_each_alone() -> None:
    """Pages 2 and 3 could each change places with page 0: together only the first does."""
    place = np.array([0, 1, 1, 1], np.uint8)
    page, other = np.array([2, 3], np.uint32), np.array([0, 0], np.uint32)
    found = Exchanges(page, np.zeros(2, np.uint8), other, np.ones(2, np.uint8))
    assert [fast(tried) for tried in _candidates(found, place)] == [[2], [2], [3]]
    for many, tried in ((2 * FEW, 1 + 2 * FEW), (2 * FEW + 1, 1)):
        page = np.arange(1, many + 1, dtype=np.uint32)
        alike = Exchanges(page, np.zeros(many, np.uint8), np.zeros(many, np.uint32), np.ones(many, np.uint8))
        assert len(list(_candidates(alike, np.ones(many + 1, np.uint8)))) == tried


class Future:
    """A program of two epochs. What a pass takes is looked up by the pages that are on node 0."""

    def __init__(
        self, epochs: list[list[int]], takes_ns: dict[tuple[int, ...], float], busiest: float
    ) -> None:
        self.epochs, self.takes_ns, self.busiest = epochs, takes_ns, busiest
        self.tried: list[tuple[int, ...]] = []
        self.price_ns = np.array([[1.0, 3.0]] * len(epochs))
        self.byte_ns = np.array([[0.0, 1 / 26]] * len(epochs))
        self.now = 0

    def total_misses(self) -> Any:
        return np.array(self.epochs).sum(axis=0)

    def epochs_of_a_pass(self) -> Iterator[Any]:
        for misses in self.epochs:
            yield np.arange(len(misses), dtype=np.uint32), np.array(misses)

    def try_pass(self, place: Any) -> Tried:
        return Tried(self.next_epoch_ns(place), self.busiest, self.busiest, self.price_ns, self.byte_ns)

    def next_epoch_ns(self, place: Any, move: Any = None) -> float:
        moves_ns = 0.0
        if move is not None:
            machine = machine_of(len(place), (len(place), len(place)))
            machine.place[:] = place
            move(machine)
            moves_ns, place = MOVE_NS * np.count_nonzero(machine.place != place), machine.place
        fast = tuple(np.flatnonzero(place == 0).tolist())
        self.tried.append(fast)
        return self.takes_ns.get(fast, 100.0) + moves_ns

    def epochs_left(self) -> int:
        return len(self.epochs) - self.now

    def coming_misses(self, epochs: int | None) -> Any:
        end = None if epochs is None else self.now + epochs
        return np.array(self.epochs[self.now : end]).sum(axis=0) + np.zeros(len(self.epochs[0]))


def machine_of(pages: int, rooms: tuple[int, int]) -> SimulatedMachine:
    return SimulatedMachine(load_topology("dram-cxl"), pages, 4096, np.array(rooms) + 1, 1, mlp=1.0)


def world(
    epochs: list[list[int]],
    rooms: tuple[int, int],
    takes_ns: dict[tuple[int, ...], float],
    busiest: float = 0.5,
) -> tuple[LabWorld, Future]:
    """Each page keeps one miss in flight. A page of each node is its reserve."""
    pages = len(epochs[0])
    machine = machine_of(pages, rooms)
    future = Future(epochs, takes_ns, busiest)
    return LabWorld(machine, pages, 4096, 1.0, 0, future), future  # type: ignore[arg-type]


def fast(place: Any) -> list[int]:
    return np.flatnonzero(np.asarray(place) == 0).tolist()  # type: ignore[no-any-return]


def test_without_a_busy_node_the_hottest_pages_are_on_the_fastest() -> None:
    epochs = [[5, 0, 1, 3], [0, 4, 1, 3]]  # 5, 4, 2 and 6 in all
    where, future = world(epochs, (2, 4), {}, busiest=0.39)
    assert fast(best_fixed_placement(where)) == [0, 3]
    assert future.tried == [(0, 3)]
    POLICIES.make("oracle-static").start(where)
    assert where.machine.preferred.tolist() == [0, 1, 1, 0]


def test_with_a_busy_node_what_shortens_the_pass_is_kept_until_nothing_does() -> None:
    """Room for all of it on node 0, which is dearer by the prices: one page after the other leaves."""
    epochs = [[5, 0, 1, 3], [0, 4, 1, 3]]
    where, future = world(
        epochs, (4, 4), {(): 90.0, (0, 1, 2): 70.0, (0, 1): 69.0, (2, 3): 80.0}, busiest=0.4
    )
    future.price_ns = np.array([[3.0, 1.0], [3.0, 1.0]])
    assert fast(best_fixed_placement(where)) == [0, 1]
    assert future.tried[0] == (0, 1, 2, 3)
    assert (0, 1) in future.tried[1:]


def test_a_gain_of_less_than_a_ten_thousandth_ends_the_search() -> None:
    epochs = [[5, 0, 1, 3], [0, 4, 1, 3]]
    for takes_ns, found in ((99.991, [0, 1, 2, 3]), (99.98, [])):
        where, future = world(epochs, (4, 4), {(): takes_ns}, busiest=0.4)
        future.price_ns = np.array([[3.0, 1.0], [3.0, 1.0]])
        assert fast(best_fixed_placement(where)) == found


# A move takes 1000 / 512 ns of interrupts, and 4096 B at 26 GB/s: 1.953 + 157.538.
MOVE_NS = 1_000 / 512 + 4_096 / 26


def oracle(
    epochs: list[list[int]], rooms: tuple[int, int], place: list[int], takes_ns: dict[tuple[int, ...], float]
) -> tuple[LabWorld, Future, OracleEpoch]:
    """An idle machine: latencies of 100 and 271 ns, 171 apart."""
    where, future = world(epochs, rooms, takes_ns, busiest=0.1)
    policy = OracleEpoch()
    policy.start(where)
    machine = where.machine
    machine.place[:] = place
    machine.free_pages[:] = np.array(rooms) + 1 - np.bincount(place, minlength=2)
    return where, future, policy


def end_epoch(where: LabWorld, policy: OracleEpoch) -> None:
    """It took a second, in which a node can move far more than these pages."""
    where.machine.now_ns += 1e9
    where.epoch_ended = True
    policy.act(where)


def test_the_price_of_a_move() -> None:
    """Two epochs, in which a byte costs 0 and 1/26 ns, and 0 and 0 ns: the dearer one counts. Where one has a busy
    node, a byte takes what the slow node needs at least, 1/26 ns."""
    where, future, policy = oracle([[1, 1], [1, 1]], (1, 2), [0, 1], {})
    assert policy._move_ns == pytest.approx(MOVE_NS)  # 159.49
    future.byte_ns = np.array([[0.0, 0.0], [0.25, 0.5]])
    policy.start(where)
    assert policy._move_ns == pytest.approx(1_000 / 512 + 4_096 * 0.75)
    future.byte_ns[:] = 0.0
    policy.start(where)
    assert policy._move_ns == pytest.approx(1_000 / 512)
    future.busiest = 0.41
    policy.start(where)
    assert policy._move_ns == pytest.approx(MOVE_NS)
    assert not where.machine.demotion_enabled
    assert (policy.tracker_bytes(), policy.counters()) == (0, {})


@pytest.mark.parametrize(
    ("misses", "swaps"),
    [([0, 1], False), ([0, 2], True), ([1, 3], True), ([2, 3], False)],
)
def test_an_exchange_for_good_repays_two_moves(misses: list[int], swaps: bool) -> None:
    """Each miss more on the fast node saves 171 ns; two moves cost 319. So two misses repay, if none come later."""
    where, _, policy = oracle([misses], (1, 2), [0, 1], {})
    end_epoch(where, policy)
    # Alone in its epoch it must repay the way back as well; but no later epoch wants it back.
    assert fast(where.machine.place) == ([1] if swaps else [0])


@pytest.mark.parametrize(("soon", "swaps"), [(3, False), (4, True)])
def test_an_exchange_for_an_epoch_repays_the_way_back_too(soon: int, swaps: bool) -> None:
    """Later page 0 has 10 misses more: for good it does not pay. Four moves cost 638 ns, 3.7 misses."""
    where, _, policy = oracle([[0, soon], [10, 0]], (1, 2), [0, 1], {})
    end_epoch(where, policy)
    assert fast(where.machine.place) == ([1] if swaps else [0])


@pytest.mark.parametrize(("epochs", "swaps"), [(1, False), (2, True), (3, True), (5, True)])
def test_an_exchange_for_several_epochs_repays_the_way_back_with_all_of_them(
    epochs: int, swaps: bool
) -> None:
    """Page 1 has 2 misses more in each epoch, and page 0 then 20. Four moves cost 638 ns, and 2 misses save 342."""
    where, _, policy = oracle([[0, 2]] * epochs + [[20, 0]] * 3, (1, 2), [0, 1], {})
    end_epoch(where, policy)
    assert fast(where.machine.place) == ([1] if swaps else [0])


def test_what_only_later_epochs_want_waits_for_them() -> None:
    """For good page 1 has 16 misses more. But in the coming epoch page 0 has 2 more, and the exchange can wait."""
    where, future, policy = oracle([[2, 0], [0, 9], [0, 9]], (1, 2), [0, 1], {})
    end_epoch(where, policy)
    assert fast(where.machine.place) == [0]
    future.now = 1
    end_epoch(where, policy)
    assert fast(where.machine.place) == [1]


def test_the_free_room_is_filled_once() -> None:
    """There is room for one page. Page 1 has most for good, page 2 in the coming epoch: only one of them comes."""
    where, _, policy = oracle([[9, 5, 8], [9, 9, 0], [9, 9, 0]], (2, 3), [0, 1, 1], {})
    end_epoch(where, policy)
    assert fast(where.machine.place) == [0, 1]


def test_the_copies_take_as_many_threads_as_have_the_time() -> None:
    """A copy takes 1,240 ns: in 2,000 ns a thread begins two. So three pages take two threads, and in 10,000 ns one."""
    for epoch_ns, threads in ((2_000.0, ["oracle0", "oracle1"]), (10_000.0, ["oracle0"])):
        machine = machine_of(4, (4, 4))
        machine.place[:] = 1
        move_to(np.array([0, 0, 0, 1], np.uint8), epoch_ns)(machine)
        assert fast(machine.place) == [0, 1, 2]
        assert [name for name in machine.kernel_threads if machine.thread(name).used_ns] == threads


def test_nothing_moves_before_an_epoch_ends() -> None:
    where, _, policy = oracle([[0, 9]], (1, 2), [0, 1], {})
    policy.act(where)
    assert fast(where.machine.place) == [0]


def test_into_free_room_a_page_pays_for_one_move() -> None:
    """171 ns of one miss repay 159."""
    where, _, policy = oracle([[0, 1, 0]], (2, 3), [0, 1, 1], {})
    end_epoch(where, policy)
    assert fast(where.machine.place) == [0, 1]


@pytest.mark.parametrize(("used", "tried"), [(0.39, []), (0.41, [(0,), (1,), (1,)])])
def test_where_a_node_is_busy_the_epoch_is_tried(used: float, tried: list[tuple[int, ...]]) -> None:
    """Tried without: 500 ns. With the exchange 100 and two moves: 419. It is made; at 200 ns it would not be."""
    for with_ns, swaps in ((100.0, True), (200.0, not tried)):
        where, future, policy = oracle([[0, 9]], (1, 2), [0, 1], {(0,): 500.0, (1,): with_ns})
        where.machine.used_share = np.array([used, 0.0])
        future.tried.clear()
        end_epoch(where, policy)
        assert future.tried == tried
        assert fast(where.machine.place) == ([1] if swaps else [0])


def test_it_starts_from_the_best_fixed_placement_with_what_the_first_epoch_repays() -> None:
    """In all page 0 has 12 misses and page 1 11. In the first epoch page 1 has 11 more than page 0: 22 ns at the prices
    of 1 and 3, which do not repay a move of 159; at prices of 1 and 31 they save 330."""
    epochs = [[0, 11], [12, 0]]
    for price, first in ((3.0, [0]), (31.0, [1])):
        where, future = world(epochs, (1, 2), {}, busiest=0.1)
        future.price_ns = np.array([[1.0, price]] * 2)
        OracleEpoch().start(where)
        assert fast(where.machine.preferred) == first
    where, future = world(epochs, (1, 2), {}, busiest=0.41)
    future.price_ns = np.array([[1.0, 31.0]] * 2)
    OracleEpoch().start(where)
    assert fast(where.machine.preferred) == [0], "busy: it stays as it is"
    where, future = world([[0, 0, 11], [12, 13, 0]], (2, 3), {}, busiest=0.1)
    future.price_ns = np.array([[1.0, 31.0]] * 2)
    OracleEpoch().start(where)
    assert fast(where.machine.preferred) == [1, 2], (
        "there is room for two, and page 0 is the cheaper one to put out"
    )
