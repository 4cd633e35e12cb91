"""Where the policies that move nothing put pages, worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pghot.recording.trace import MemoryKind, Region
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import Topology, load_topology
from pghot.sim.policies import POLICIES
from pghot.sim.policies.interleave import bandwidth_weights

# Nodes: 0 DRAM with the CPUs, 1 HBM on top, 2 CXL.
THREE = load_topology("hbm-dram-cxl")


def world(tiers: Topology, capacity: list[int], pages: int, regions: tuple[Region, ...] = ()) -> LabWorld:
    machine = SimulatedMachine(tiers, pages, 4096, np.array(capacity), 1)
    return LabWorld(machine, pages, 4096, 1.0, 0, None, regions)  # type: ignore[arg-type]


def placed(name: str, where: LabWorld, **options: Any) -> list[int]:
    POLICIES.make(name, **options).start(where)
    return where.machine.preferred.tolist()  # type: ignore[no-any-return]


def test_weights_are_relative_to_the_slowest_node() -> None:
    assert bandwidth_weights(np.array([200.0, 26.0])).tolist() == [8, 1]  # 7.69
    assert bandwidth_weights(np.array([96.0, 26.0, 64.0])).tolist() == [4, 1, 2]  # 3.69, 1, 2.46
    assert bandwidth_weights(np.array([255.4, 1.0, 255.6])).tolist() == [255, 1, 255]
    assert bandwidth_weights(np.array([30.0, 30.0])).tolist() == [1, 1]


def test_pages_are_dealt_out_in_turn() -> None:
    assert placed("interleave", world(load_topology("dram-cxl"), [20, 20], 20)) == ([0] * 8 + [1]) * 2 + [
        0,
        0,
    ]


def test_the_upper_bound_has_room_for_all_whatever_the_capacity() -> None:
    where = world(load_topology("dram-cxl"), [5, 20], 20)
    assert placed("all-fast", where) == [0] * 20
    assert where.machine.capacity_pages.tolist() == [5 + 2 * 20, 20]
    assert where.machine.free_pages.tolist() == [5 + 2 * 20, 20]


def test_with_two_sockets_each_page_is_near_its_cpu() -> None:
    tiers = load_topology("two-socket-cxl")
    where = world(tiers, [5] * len(tiers.nodes), 20)
    where.machine.preferred[:] = 1  # as --placement asked
    assert placed("all-fast", where) == [-1] * 20
    tops = where.machine.top_nodes
    assert len(tops) == 2
    assert where.machine.capacity_pages[list(tops)].tolist() == [45, 45]


def test_the_lower_bound_is_the_lowest_tier_that_takes_programs() -> None:
    where = world(THREE, [5, 5, 5], 20)
    assert placed("all-slow", where) == [2] * 20
    assert where.machine.capacity_pages.tolist() == [5, 5, 45]
    where = world(load_topology("dram-cxl"), [5, 7], 20)
    where.machine.private[:] = [False, True]
    assert placed("all-slow", where) == [0] * 20


REGIONS = (
    Region(0, 4, 0, 0, "[heap]", MemoryKind.HEAP),
    Region(4, 3, 0, 0, "/lib/libc.so.6", MemoryKind.FILE),
    Region(7, 5, 0, 0, "arena", MemoryKind.ANON),
)


def test_classes_have_their_node_and_the_rest_what_the_fast_tier_leaves() -> None:
    """10 pages on the fast node, of which one stays free, and the heap's four: five of the others fit. All five do."""
    where = world(load_topology("dram-cxl"), [10, 20], 12, REGIONS)
    assert where.machine.room(0) == 9
    assert placed("static-class", where) == [0] * 4 + [1] * 3 + [-1] * 5
    # With two pages less, three of the others fit; the last two go down.
    assert placed("static-class", world(load_topology("dram-cxl"), [8, 20], 12, REGIONS)) == (
        [0] * 4 + [1] * 3 + [-1] * 3 + [1] * 2
    )
    # The heap alone is more than the fast node holds: no other page goes there.
    assert placed("static-class", world(load_topology("dram-cxl"), [4, 20], 12, REGIONS)) == (
        [0] * 4 + [1] * 3 + [1] * 5
    )


def test_what_the_fast_tier_leaves_goes_to_the_next_fastest_until_that_is_full() -> None:
    """HBM has room for 5: the heap's four and one more. DRAM has room for two. CXL takes the others and the library."""
    where = world(THREE, [3, 6, 20], 12, REGIONS)
    assert [where.machine.room(node) for node in range(3)] == [2, 5, 19]
    assert placed("static-class", where) == [1] * 4 + [2] * 3 + [-1, 0, 0, 2, 2]


def test_classes_are_chosen_by_name_or_kind() -> None:
    chosen = {"fast": ("file",), "slow": ("are*", "[heap]")}
    where = world(load_topology("dram-cxl"), [10, 20], 12, REGIONS)
    assert placed("static-class", where, **chosen) == [1] * 4 + [0] * 3 + [1] * 5


@pytest.mark.parametrize("name", ["none", "demotion"])
def test_first_touch_decides(name: str) -> None:
    where = world(load_topology("dram-cxl"), [10, 20], 12, REGIONS)
    assert placed(name, where) == [-1] * 12
    assert where.machine.demotion_enabled == (name == "demotion")


def test_demotion_brings_the_fast_node_up_to_its_high_watermark() -> None:
    """Watermarks at 1, 2 and 3 pages of 20: one is free, so two go down. None go while two are free."""
    where = world(load_topology("dram-cxl"), [20, 40], 40)
    machine = where.machine
    policy = POLICIES.make("demotion")
    policy.start(where)
    machine.place[:19] = 0
    machine.free_pages[:] = [1, 40]
    machine.generations.sequence = 4  # all are old
    machine.slice_ns = 1e9
    policy.act(where)
    assert np.flatnonzero(machine.place == 1).tolist() == [0, 1]
    machine.free_pages[0] = 2
    policy.act(where)
    assert machine.ledger.demoted == 2
