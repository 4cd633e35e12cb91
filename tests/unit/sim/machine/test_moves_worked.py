"""Moves on the simulated machine in figures worked by hand: who pays how much, what fits, and what reclaim takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pghot.arrays import NOWHERE
from pghot.sim.machine.simulated import COPY_MEAN_MS, SimulatedMachine
from pghot.sim.machine.topology import load_topology


def machine(
    fast: int = 50, pages: int = 100, threads: int = 2, placed: int = 0, **keys: Any
) -> SimulatedMachine:
    """dram-cxl with `placed` pages on the fast node and the others on the slow one; one page is the reserve of each."""
    subject = SimulatedMachine(
        load_topology("dram-cxl"), pages, 4096, np.array([fast, 1_000]), threads, **keys
    )
    subject.place[:] = 1
    subject.place[:placed] = 0
    subject.free_pages[:] = [fast - placed, 1_000 - (pages - placed)]
    subject.slice_ns = 1e9
    return subject


def pages(*index: int) -> np.ndarray:
    return np.array(index, np.uint32)


def run(subject: SimulatedMachine, *page: int, misses: int = 0, instructions: int = 0) -> float:
    rows = pages(*page)
    ones, none = np.ones(len(rows), np.uint32), np.zeros(len(rows), np.uint32)
    node = np.zeros(len(rows), np.int16)
    return subject.run_slice(rows, ones, ones * np.uint32(misses), none, none, node, instructions)


def test_a_kernel_threads_batches_cost_it_time_and_each_thread_an_interrupt() -> None:
    """Three batches of two: 5 x 1,240 and 3 x 4,000 ns for the thread, 3 x 1,000 for each of two threads."""
    subject = machine()
    found = subject.migrate(pages(1, 2, 3, 4, 5), 0, "kmigrated", batch_pages=2)
    assert (found.moved.tolist(), found.failed.tolist()) == ([1, 2, 3, 4, 5], [])
    assert subject.thread("kmigrated").used_ns == 5 * 1_240 + 3 * 4_000
    assert subject.ledger.moving_app_ns == 3 * 1_000 * 2
    assert subject.thread("kmigrated").copying.tolist() == [5 * 4096.0, 5 * 4096.0]
    assert (subject.ledger.promoted, subject.ledger.demoted, subject.ledger.exchanged_bytes) == (
        5,
        0,
        5 * 4096,
    )
    assert subject.newly_promoted[0].tolist() == [1, 2, 3, 4, 5]
    assert subject.free_pages.tolist() == [45, 905]
    subject.migrate(pages(1, 2), 1, "kswapd0")
    subject.migrate(pages(2, 9), 0, "kmigrated")
    assert (subject.ledger.promoted, subject.ledger.demoted, subject.ledger.pingpong) == (7, 2, 1)


@pytest.mark.parametrize(("payer", "flushes"), [("app", 3), ("hint fault", 0), ("direct reclaim", 1)])
def test_the_program_pays_its_own_moves_at_once_and_waits_for_the_copies_in_its_slice(
    payer: str, flushes: int
) -> None:
    """Three pages: 930 ns each to remap, and per flush 4,000 ns and an interrupt on both threads. Then the slice: that
    debt on two threads, and three copies of 310 ns on the slow node."""
    subject = machine()
    subject.migrate(pages(1, 2, 3), 0, payer)
    debt_ns = 3 * 930 + flushes * (4_000 + 2 * 1_000)
    assert subject.ledger.moving_app_ns == debt_ns
    assert subject.kernel_threads == {}
    assert run(subject) == pytest.approx((debt_ns + 3 * 310) / 2, rel=5e-3)
    assert subject.ledger.moving_app_ns == pytest.approx(debt_ns + 3 * 310, rel=5e-3)
    assert run(subject) == 0, "paid"


def test_what_fits_and_what_is_left_out() -> None:
    """49 of 50 pages are the most. Page 0 is there already, page 99 nowhere."""
    subject = machine(placed=46)
    subject.place[99] = NOWHERE
    assert [subject.room(node) for node in (0, 1)] == [3, 944]
    found = subject.migrate(pages(0, 99, 60, 61, 62, 63, 64), 0, "kmigrated")
    assert (found.moved.tolist(), found.failed.tolist()) == ([60, 61, 62], [63, 64])
    assert subject.room(0) == 0
    subject.free_pages[0] = 0
    assert subject.room(0) == 0


def test_a_promotion_makes_room_by_demotion_where_that_is_on() -> None:
    """Two pages free and one of them the reserve, so one of four fits. Three go, and one for the high mark."""
    subject = machine(placed=48)
    subject.demotion_enabled = True
    subject.generations.sequence = 3
    found = subject.migrate(pages(60, 61, 62, 63), 0, "kmigrated")
    assert found.moved.tolist() == [60, 61, 62, 63]
    assert np.flatnonzero(subject.place[:48] == 1).tolist() == [0, 1, 2, 3]
    assert subject.free_pages[0] == 2


def test_pages_that_fit_push_nothing_out() -> None:
    """One page free beyond the reserve. Two are below the low watermark, but that is for kswapd to mend."""
    subject = machine(placed=48)
    subject.demotion_enabled = True
    subject.generations.sequence = 3
    assert subject.migrate(pages(60), 0, "kmigrated").moved.tolist() == [60]
    assert subject.ledger.demoted == 0


def test_a_batch_is_512_pages_unless_the_thread_has_its_own() -> None:
    for many, flushes in ((512, 1), (513, 2)):
        subject = machine(fast=600, pages=600)
        subject.migrate(np.arange(many, dtype=np.uint32), 0, "kmigrated")
        assert subject.thread("kmigrated").used_ns == many * 1_240 + flushes * 4_000


@pytest.mark.parametrize(
    ("sleep_ns", "slice_ns", "busy_ns", "many"),
    [
        (0.0, 12_400.0, 0.0, 10),
        (12_401.0, 5.0, 0.0, 11),
        (5.0, 12_399.0, 0.0, 10),
        (0.0, 12_400.0, 11_161.0, 1),
        (0.0, 12_400.0, 12_400.0, 0),
    ],
)  # fmt: skip
def test_pages_that_a_thread_can_start_to_move(
    sleep_ns: float, slice_ns: float, busy_ns: float, many: int
) -> None:
    subject = machine()
    subject.slice_ns = slice_ns
    subject.thread("kmigrated").run(0.0, busy_ns)
    assert subject.pages_in_budget("kmigrated", sleep_ns) == many


def test_pages_of_larger_folios_move_at_their_speed() -> None:
    """A page stands for a 512th of 2 MiB: (2 MiB / 11 GB/s) / 512 = 372 ns."""
    subject = machine(folio_bytes=2 << 20)
    subject.slice_ns = 3_720.0
    assert subject.pages_in_budget("kmigrated") == 10
    subject.migrate(pages(1, 2), 0, "hint fault")
    assert subject.ledger.moving_app_ns == pytest.approx(2 * 930 / 512)
    assert subject.timing.copy_ns.sum() == pytest.approx(2 * ((2 << 20) / 11 - 930) / 512)


def test_flushes_are_of_real_batches() -> None:
    assert machine().move_costs.batches(512) == 1
    assert machine().move_costs.batches(513) == 2
    assert machine().move_costs.batches(5, batch_pages=2) == 3
    assert machine(group_pages=100.0).move_costs.batches(6) == 2 / 100  # 600 real pages


def test_direct_reclaim_takes_the_oldest_then_the_longest_untouched() -> None:
    """Three are wanted, and two go on top: the high watermark is two above the least. Two pages are of old generations;
    walks over 100 pages at 25 ns are the program's."""
    subject = machine(placed=20)
    ages = subject.generations
    ages.sequence = 9
    ages.generation[:20] = 9
    ages.generation[[4, 6]] = [7, 6]
    ages.generation[[5, 8, 9]] = 8
    ages._aged_ns = 0.0  # no walk is due
    assert subject.reclaim_directly(3) == 5
    assert np.flatnonzero(subject.place[:20] == 1).tolist() == [4, 5, 6, 8, 9]
    # The program pays: 5 x 930, and a flush with its interrupts.
    assert subject.ledger.moving_app_ns == 5 * 930 + 4_000 + 2 * 1_000
    ages._aged_ns = -1.0
    subject.reclaim_directly(100)
    assert subject.ledger.moving_app_ns == (5 + 15) * 930 + 2 * 6_000 + 100 * 25


def test_kswapd_ages_on_its_own_time() -> None:
    subject = machine(placed=20)
    assert subject.demote_oldest(0, 3, "kswapd0").tolist() == []
    assert subject.thread("kswapd0").used_ns == 100 * 25
    for _ in range(2):
        subject.generations.age(0.0)
    assert subject.demote_oldest(0, 3, "kswapd0").tolist() == [0, 1, 2]
    assert subject.thread("kswapd0").used_ns == 100 * 25 + 3 * 1_240 + 4_000
    subject.age_generations("kswapd0")
    assert subject.generations.sequence == 3, "it is busy"
    subject.now_ns = 1e6
    subject.age_generations("kswapd0")
    assert subject.generations.sequence == 4
    assert subject.reclaim(1, 5) == 0, "nowhere to go from the lowest tier"


def test_kswapd_wakes_below_the_low_watermark_only() -> None:
    """Marks at 1, 2 and 3 free pages."""
    for free, gone in ((1, 2), (2, 0), (3, 0)):
        subject = machine(placed=50 - free)
        subject.demotion_enabled = True
        subject.generations.sequence = 3
        subject.balance()
        assert subject.ledger.demoted == gone
    subject = machine(placed=49)
    subject.generations.sequence = 3
    subject.balance()
    assert subject.ledger.demoted == 0


def test_what_ends_gives_its_frames_back_and_a_node_may_grow() -> None:
    subject = machine(placed=20)
    subject.place[30] = NOWHERE
    subject.free(pages(1, 2, 30, 40))
    assert subject.free_pages.tolist() == [32, 921]
    assert (subject.place[[1, 2, 30, 40]] == NOWHERE).all()
    subject.set_capacity(0, 60)
    assert (subject.capacity_pages.tolist(), subject.free_pages.tolist()) == ([60, 1_000], [42, 921])


def test_a_slice_is_computing_and_misses_and_what_was_charged() -> None:
    """10,000 instructions at 0.25 ns, 8 misses at 4 in flight on the slow node, 1,000 ns of tracking; two threads."""
    subject = machine()
    subject.charge_tracking(1_000.0, 700.0, "kscand")
    assert subject.thread("kscand").used_ns == 700
    assert run(subject, 5, misses=8, instructions=10_000) == pytest.approx(
        (2_500 + 1_000 + 2 * 271) / 2, rel=1e-3
    )
    ledger = subject.ledger
    assert (ledger.tracking_app_ns, ledger.tracking_kernel_ns, ledger.compute_ns) == (1_000, 700, 2_500)
    assert ledger.served.tolist() == [0, 8]
    assert subject.now_ns == subject.slice_ns == ledger.elapsed_ns
    assert run(subject, instructions=8) == 1
    subject.charge_tracking(5.0, 0.0, "none")
    assert set(subject.kernel_threads) == {"kscand"}
    assert COPY_MEAN_MS == 100


def test_a_machine_that_compresses_must_know_the_contents() -> None:
    with pytest.raises(ValueError, match="needs the contents"):
        SimulatedMachine(load_topology("dram-cxl-compressed"), 2, 4096, np.array([9, 9]), 1)


def test_watermarks_are_shares_of_a_node_rounded_up() -> None:
    """0.2, 0.3 and 0.4 % of 1,001 pages are 2.002, 3.003 and 4.004."""
    subject = SimulatedMachine(load_topology("dram-cxl"), 10, 4096, np.array([1_001, 10_000]), 1)
    marks = (subject.min_pages, subject.low_pages, subject.high_pages)
    assert [mark.tolist() for mark in marks] == [[3, 20], [4, 30], [5, 40]]
    assert subject.overlap.tolist() == [0.25] * 10
    subject = SimulatedMachine(
        load_topology("dram-cxl"), 2, 4096, np.array([9, 9]), 1, mlp=np.array([0.0, 2.0])
    )
    assert subject.overlap.tolist() == [0.25, 0.5]
