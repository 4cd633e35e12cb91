"""What is free on a node and may be used, in pages computed by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builders.machine_trees import NODES, Node, machine, put
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.nodes import read_nodes
from pghot.live.machine.room import Room

MIB = 8192  # of each node: 2097152 pages


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two nodes of 8 GiB with a high watermark of 150 pages, and a CPU. No lists of free pages are shown."""
    machine(tmp_path, Node(0, "10 20", "0", MIB, 4), Node(1, "20 10", "", MIB, 22))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    return tmp_path


def leave(tree: Path, node: int, pages: int) -> None:
    put(
        tree,
        f"{NODES}/node{node}/meminfo",
        f"Node {node} MemTotal: {MIB << 10} kB\nNode {node} MemFree: {pages * 4} kB",
    )


def make(tree: Path, floor_share: float = 0.01) -> Room:
    root = SysRoot(tree)
    room = Room(root, read_nodes(root), floor_share)
    room.read()
    return room


def test_the_floor_is_a_share_of_the_node_and_at_least_its_high_watermark(tree: Path) -> None:
    assert make(tree).floor_pages.tolist() == [20_971, 20_971]  # 2097152 / 100, cut off
    assert make(tree, 0.00001).floor_pages.tolist() == [150, 150]  # 20 pages would be less


def test_room_is_what_is_free_above_the_floor_and_the_drift(tree: Path) -> None:
    leave(tree, 0, 30_000)
    leave(tree, 1, 21_096)
    room = make(tree)
    # One CPU may hide 125 pages: 30000 - 20971 - 125; and 21096 - 20971 - 125 = 0.
    assert [room.on(0), room.on(1)] == [8904, 0]
    leave(tree, 1, 21_097)
    assert room.on(1) == 0  # as last read
    room.read()
    assert room.on(1) == 1
    leave(tree, 1, 5)
    room.read()
    assert room.on(1) == 0


@pytest.mark.parametrize(
    "above, batches",
    [
        (0, 1),
        (16_383, 1),  # less than 64 MiB = 16384 pages
        (16_384, 4),
        (32_767, 4),
        (32_768, 8),
        (65_536, 16),
        (81_920, 16),  # 20 would be too many
    ],
)
def test_for_how_many_batches_a_look_holds(tree: Path, above: int, batches: int) -> None:
    room = make(tree)
    leave(tree, 0, 20_971 + 125 + above)
    assert room.look(0) == (above, batches)


def test_the_lowest_margin_of_the_nodes_that_were_filled(tree: Path) -> None:
    room = make(tree)
    assert room.lowest_margin is None
    for node, pages, lowest in (
        (0, 21_971, 1000),
        (1, 22_971, 1000),
        (1, 20_971, 0),
        (0, 20_970, -1),
        (0, 30_000, -1),
    ):
        leave(tree, node, pages)
        room.filled(node)
        assert room.lowest_margin == lowest
        assert room.free_pages[node] == pages


def test_what_a_dry_run_promised_stays_promised(tree: Path) -> None:
    leave(tree, 0, 30_000)
    room = make(tree)
    room.pretend(0, 1000)
    assert (room.free_pages[0], room.on(0)) == (29_000, 7904)
    room.pretend(0, 500)
    room.read()
    assert (room.free_pages[0], room.on(0)) == (28_500, 7404)
    assert room.free_pages[1] == MIB * 128  # half of the node, as the tree says


def test_two_cpus_hide_twice_as_much(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert make(tree).drift_pages == 250
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert make(tree).drift_pages == 125
