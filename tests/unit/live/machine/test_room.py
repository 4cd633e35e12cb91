"""What promotion leaves free beside the floor: pages that the kernel's per-CPU lists may take meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from builders.machine_trees import Node, machine, put
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.zoneinfo import parse_zoneinfo
from pghot.live.machine.nodes import read_nodes
from pghot.live.machine.room import Room, refill_pages

ZONE = (
    "Node {node}, zone Normal\n  pages free 90000\n        managed 100000\n  pagesets\n"
    "    cpu: 0\n              count:    0\n              high:     2575\n              batch:    {batch}\n"
)


def two_tiers(tree: Path) -> SysRoot:
    return machine(tree, Node(0, "10 20", "0-1", tier=4), Node(1, "20 10", tier=22))


@pytest.fixture
def zones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SysRoot:
    """Two nodes, of which the second has batches of 31; two CPUs."""
    root = two_tiers(tmp_path)
    put(tmp_path, "proc/zoneinfo", ZONE.format(node=0, batch=63) + ZONE.format(node=1, batch=31))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    return root


def release(root: SysRoot, text: str) -> None:
    put(root.root, "proc/sys/kernel/osrelease", text)


def test_the_batch_of_a_zone_is_the_largest_of_its_cpus(zones: SysRoot) -> None:
    text = (
        zones.read("/proc/zoneinfo") + "\n    cpu: 1\n              batch:    127\n  vm stats threshold: 24"
    )
    assert [zone.batch for zone in parse_zoneinfo(text)] == [63, 127]


def test_a_list_takes_thirty_two_batches_since_6_7(zones: SysRoot) -> None:
    release(zones, "6.6.50")
    assert refill_pages(zones, 2).tolist() == [2 * (63 + 512), 2 * (31 + 512)]
    release(zones, "6.7.0")
    assert refill_pages(zones, 2).tolist() == [2 * (2016 + 512), 2 * (992 + 512)]


def test_one_cpu_fills_one_list(zones: SysRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    release(zones, "6.12.1")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert refill_pages(zones, 1).tolist() == [2016 + 512]


def test_a_kernel_that_shows_no_lists_is_believed_to_have_none(tmp_path: Path) -> None:
    assert refill_pages(two_tiers(tmp_path), 2).tolist() == [0, 0]


def test_room_ends_above_the_floor_by_what_lists_may_take(zones: SysRoot) -> None:
    release(zones, "6.12.1")
    room = Room(zones, read_nodes(zones), 0.01)
    room.read()
    above = room.free_pages - room.floor_pages
    assert [room.on(node) for node in (0, 1)] == (above - 250 - np.array([5056, 3008])).tolist()
    room.free_pages[0] = room.floor_pages[0] + 250 + 5056
    assert room.on(0) == 0
