"""Accesses of a program to compressed pages, in figures worked by hand: who faults, moves, waits or dies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from pghot.arrays import NOWHERE
from pghot.sim.compressed.access import PROTECT_AGAIN_MS, Access
from pghot.sim.compressed.device import CompressedDevice
from pghot.sim.compressed.node import CompressedNode, Contents
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import Node, Topology

PAGE = 4096


def machine_of(
    rule: str,
    on_device: Iterable[int],
    *,
    dram: int = 40,
    real_pages: int = 64,
    rewritten: int = 128,
    tenants: int = 1,
    device: CompressedDevice | None = None,
) -> SimulatedMachine:
    """40 pages of 64 B, and of `rewritten` once written, owned by the tenants in turn. Those not named are on DRAM.

    A page stands for 512, so batches are single pages. DRAM keeps one page free. Two threads.
    """
    nodes = (
        Node(name="dram", cpus=4, capacity=dram * PAGE, latency_ns=100, bandwidth_gb_s=200),
        Node(
            name="device", capacity=64 * PAGE, latency_ns=400, bandwidth_gb_s=26, access=rule,
            compressed=device or CompressedDevice(), real_capacity=real_pages * PAGE,
        ),
    )  # fmt: skip
    contents = Contents(
        np.full(40, 64, np.uint32),
        np.full(40, rewritten, np.uint32),
        (np.arange(40) % tenants).astype(np.uint16),
    )
    machine = SimulatedMachine(
        Topology(nodes=nodes), 40, PAGE, np.array([dram, 64]), 2, group_pages=512.0, contents=contents
    )
    there = pages(*on_device)
    machine.place[:] = 0
    machine.place[there] = 1
    node(machine).admit(there)
    machine.free_pages[:] = [dram - (40 - len(there)), 64 - len(there)]
    machine.slice_ns = 1e9
    return machine


def node(machine: SimulatedMachine) -> CompressedNode:
    assert machine.compressed is not None
    return machine.compressed


def pages(*index: int) -> np.ndarray:
    return np.array(index, np.uint32)


def write(machine: SimulatedMachine, *page: int, writes: int = 1) -> None:
    machine._access.writes(pages(*page), np.full(len(page), writes, np.uint32))


def on_device(machine: SimulatedMachine) -> list[int]:
    return np.flatnonzero(machine.place == 1).tolist()  # type: ignore[no-any-return]


def test_a_store_in_place_costs_no_fault() -> None:
    machine = machine_of("writable", range(10))
    write(machine, 3, 5, 20)
    assert on_device(machine) == list(range(10))
    assert (node(machine).counts.write_faults, machine.ledger.tracking_app_ns) == (0, 0)
    assert node(machine).stored[:10].tolist() == [64, 64, 64, 128, 64, 128, 64, 64, 64, 64]
    assert node(machine)._size[20] == 128, "on DRAM, but it will take that when it is demoted"


def test_a_store_that_promotes_costs_a_fault_of_1200_ns_for_each_page() -> None:
    machine = machine_of("promote-on-write", range(10))
    write(machine, 3, 3, 5, 20)
    assert on_device(machine) == [0, 1, 2, 4, 6, 7, 8, 9]
    assert (node(machine).counts.write_faults, machine.ledger.tracking_app_ns) == (2, 2_400)
    assert (node(machine).used, node(machine).pages) == (8 * 64, 8)
    write(machine, 4, writes=0)  # a read
    assert node(machine).counts.write_faults == 2


def test_from_swap_any_access_brings_a_page_back() -> None:
    machine = machine_of("swap", range(10))
    write(machine, 3, 5, 20, writes=0)
    assert on_device(machine) == [0, 1, 2, 4, 6, 7, 8, 9]
    assert (node(machine).counts.write_faults, machine.ledger.tracking_app_ns) == (2, 2_400)


def test_pages_of_nodes_behind_the_device_are_none_of_its() -> None:
    """Node 0 compresses and holds pages 0 and 1; the others are on node 1. Of three that are read, one faults."""
    machine = machine_of("swap", range(2))
    access = Access(machine, node(machine), 0, hit_ns=400.0, link_gb_s=26.0)
    machine.place[:] = 1 - machine.place
    machine.private[:] = [True, False]
    machine.promotion_targets = [[1], [1]]
    machine.free_pages[:] = [62, 20]
    access.writes(pages(1, 20, 21), np.zeros(3, np.uint32))
    assert node(machine).counts.write_faults == 1
    assert np.flatnonzero(machine.place == 0).tolist() == [0]


def test_a_granted_page_faults_once_and_what_cannot_be_granted_is_promoted() -> None:
    """10 pages of 64 B on a medium of 4 leave 15,744 B: three of 4,032 are granted, and the fourth goes up."""
    machine = machine_of("ro-cow", range(10), real_pages=4)
    write(machine, 1, 2, 3, 4)
    assert node(machine).granted.nonzero()[0].tolist() == [1, 2, 3]
    assert on_device(machine) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    counts = node(machine).counts
    assert (counts.write_faults, counts.granted, machine.ledger.tracking_app_ns) == (4, 3, 4_800)
    assert node(machine).stored[1] == 128
    write(machine, 1, 3)
    assert (counts.write_faults, machine.ledger.tracking_app_ns) == (4, 4_800)
    write(machine, 1, 5)
    assert (counts.write_faults, counts.granted) == (5, 3)
    assert 5 not in on_device(machine)


@pytest.mark.parametrize(("at_ms", "again"), [(999.9, False), (1_000, True), (1_500, True)])
def test_granted_pages_are_read_only_again_after_a_second(at_ms: float, again: bool) -> None:
    """Two pages: 25 + 250 ns each for the thread, a 512th of a flush (4000 ns), and of an interrupt on both threads."""
    assert PROTECT_AGAIN_MS == 1_000
    machine = machine_of("ro-cow", range(10))
    write(machine, 1, 2)
    app_ns = machine.ledger.tracking_app_ns
    machine.now_ns = at_ms * 1e6 / 512
    write(machine, 1)
    assert node(machine).counts.write_faults == 2 + again
    flush = 2 / 512
    assert machine.ledger.tracking_kernel_ns == pytest.approx(again * (flush * 4_000 + 2 * 275))
    assert machine.ledger.tracking_app_ns - app_ns == pytest.approx(again * (flush * 1_000 * 2 + 1_200))
    if again:  # the second begins anew
        machine.now_ns = (at_ms + 999) * 1e6 / 512
        write(machine, 1)
        assert node(machine).counts.write_faults == 3


def test_first_contents_change_no_size() -> None:
    machine = machine_of("writable", range(10))
    machine.place[[30, 31]] = NOWHERE
    assert machine._access.touches(pages(3, 30, 31)) == 2
    machine.place[30] = 1
    assert machine.generations.young[[3, 30]].tolist() == [1, 0]
    write(machine, 3, 30)
    assert node(machine)._size[[3, 30]].tolist() == [128, 64]
    write(machine, 31)
    assert node(machine)._size[31] == 128, "only in the slice that touched it first"


def test_what_is_admitted_went_and_what_is_refused_stayed() -> None:
    machine = machine_of("promote-on-write", range(10), real_pages=4)
    found = machine.migrate(pages(20, 21), 1, "kswapd0")
    assert (found.moved.tolist(), found.failed.tolist()) == ([20, 21], [])
    node(machine).granted_growth = 3 * PAGE  # as if pages had been granted: no other fits
    found = machine.migrate(pages(22, 23), 1, "kswapd0")
    assert (found.moved.tolist(), found.failed.tolist()) == ([], [22, 23])


def test_a_copy_off_the_device_waits_for_a_block_of_each_page() -> None:
    machine = machine_of("promote-on-write", range(10))
    assert machine._access.leave(pages(1, 2, 20)) == 2 * 1_500
    assert (node(machine).used, node(machine).pages) == (8 * 64, 8)
    assert machine._access.leave(pages(20)) == 0


def test_more_pages_than_dram_has_room_for_are_promoted_in_parts_of_a_quarter() -> None:
    """12 pages to 20 of DRAM, which are full but for the reserve: parts of five.

    Five lack, and two more go for the high watermark: 21 to 27 are the first of the untouched. Of the next five, three
    lack. Five go, and these are the ones that just came. For the last two there is room.
    """
    machine = machine_of("promote-on-write", range(21), dram=20)
    asked: list[tuple[int, int | None]] = []
    reclaim = machine.reclaim_directly

    def noted(many: int, on: int | None = None) -> int:
        asked.append((many, on))
        return reclaim(many, on)

    machine.reclaim_directly = noted  # type: ignore[method-assign]
    write(machine, *range(12))
    assert asked == [(5, 0), (3, 0)]
    assert on_device(machine) == [*range(5), *range(12, 28)]
    assert node(machine).counts.killed == 0


def test_without_room_the_margin_is_taken_back_and_then_the_tenant_with_most_dies() -> None:
    machine = machine_of("ro-cow", range(10), tenants=3)
    write(machine, 1, 2)
    machine._access.out_of_memory(pages(4, 7, 5))  # two of tenant 1, one of tenant 2
    assert (node(machine).granted_growth, node(machine).counts.killed) == (0, 0)
    assert machine._access.living(pages(1)) is None
    machine._access.out_of_memory(pages(4, 7, 5))
    assert node(machine).counts.killed == 1
    assert (machine.place[1::3] == NOWHERE).all()
    assert np.count_nonzero(machine.place == NOWHERE) == 13
    alive = machine._access.living(pages(1, 2, 3, 4))
    assert alive is not None
    assert alive.tolist() == [False, True, True, False]
    assert node(machine).pages == 7
    machine._access._kill(0)
    alive = machine._access.living(pages(1, 2, 3))
    assert alive is not None
    assert alive.tolist() == [False, True, False]


def test_a_tenant_over_its_budget_is_killed() -> None:
    """64 pages of medium for two tenants: half each. One of them is at it but for 63 B, and its page grows by 64."""
    machine = machine_of("contained", range(10), tenants=2)
    node(machine).used_by[1] = 32 * PAGE - 63
    write(machine, 0, 1)
    assert node(machine).counts.killed == 1
    assert (machine.place[1::2] == NOWHERE).all()
    assert node(machine).stored[0] == 128


def test_a_warning_has_pages_moved_away_as_time_and_room_allow() -> None:
    """Five pages of DRAM are free, one is the reserve: four go up, the next four when there is room again."""
    machine = machine_of("writable", range(10), dram=35)
    node(machine).warned = True
    write(machine)
    assert on_device(machine) == [4, 5, 6, 7, 8, 9]
    assert node(machine).counts.drained == 4
    machine.free_pages[0] += 4
    node(machine).warned = True
    machine.place[pages(0, 1)] = 1  # as if they had come back
    write(machine)
    assert on_device(machine) == [0, 1, 8, 9], "it goes on where it was"
    machine.free_pages[0] += 3
    node(machine).warned = True
    write(machine)
    assert on_device(machine) == [1], "and begins anew at the end"
    assert node(machine).counts.drained == 11
    assert machine.kernel_threads.keys() == {"kdrain"}


def test_the_drain_has_the_time_of_its_thread_and_no_warning_no_drain() -> None:
    machine = machine_of("writable", range(10))
    machine.thread("kdrain").run(0.0, 1e9 - 1.5 * 1_240)
    write(machine)
    assert len(on_device(machine)) == 10
    node(machine).warned = True
    write(machine)
    assert on_device(machine) == list(range(2, 10))
    for rule in ("promote-on-write", "ro-cow", "swap"):
        machine = machine_of(rule, range(10))
        node(machine).warned = True
        write(machine)
        assert len(on_device(machine)) == 10


def test_how_slow_the_device_is_and_how_busy_writing_back_keeps_it() -> None:
    """30 scattered misses and 10 in sequence, of which half hit the cache: 0.75 x 0.5 miss and take 1,500 ns.

    Four dirty lines: 0.375 of them cost a block of 4,096 B, the others 64 B: 6,304 B. At 8 GB/s, beside a link of 26.
    """
    machine = machine_of("writable", range(10))
    told: dict[str, Any] = {}
    machine.set_latency = lambda node, ns: told.update(latency=(node, ns))  # type: ignore[method-assign]
    machine.occupy = lambda node, moved: told.update(occupy=(node, moved))  # type: ignore[method-assign]
    served = np.zeros((2, 2, 4))
    served[0, 1] = [20, 10, 3, 99]
    served[1, 1] = [10, 0, 1, 99]
    served[0, 0] = [500, 500, 500, 500]
    machine._access.load(served)
    assert told == {"latency": (1, 400 + 0.375 * 1_100), "occupy": (1, pytest.approx(6_304 * 26 / 8))}
    served[:, 1] = 0.0
    machine._access.load(served)
    assert told == {"latency": (1, 400.0), "occupy": (1, 0.0)}
