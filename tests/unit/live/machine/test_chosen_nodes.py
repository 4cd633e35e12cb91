"""Fast, slow and left-out nodes: as named, as the kernel has them, and memory of GPUs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.live_loop import START, FakeKernel, addresses, maps_line, mover, seen
from builders.machine_trees import NODES, Node, captured, machine, put
from pghot.errors import UsageError
from pghot.kernel.memory_blocks import BLOCK_SIZE
from pghot.kernel.sysroot import SysRoot
from pghot.live.damos.damos_needs import kernel_needs
from pghot.live.live_settings import LiveSettings, check_left_out
from pghot.live.machine.chosen_nodes import AS_THEY_ARE, NodeChoice, choose_nodes, parse_nodes
from pghot.live.machine.gpu_nodes import gpu_nodes
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.machine.nodes import LiveTopology, read_nodes
from pghot.live.targets import Targets


def four(tree: Path) -> SysRoot:
    """Two sockets (0, 1), memory behind CXL near each (2 near 0, 4 near 1) in two tiers; there is no node 3."""
    return machine(
        tree,
        Node(0, "10 20 30 40", "0-3", tier=4),
        Node(1, "20 10 40 30", "4-7", tier=4),
        Node(2, "30 40 10 50", tier=22),
        Node(4, "40 30 50 10", tier=40),
    )


def chosen(root: SysRoot, **nodes: tuple[int, ...]) -> LiveTopology:
    return choose_nodes(root, read_nodes(root), NodeChoice(**nodes))


NEITHER = "it was named neither fast nor slow"
BY_NAME = "it was left out by name"


@pytest.mark.parametrize(
    ("named", "fast", "slow", "left_out"),
    [
        ({}, (0, 1), {2: 1, 4: 2}, {}),
        ({"fast": (0,)}, (0,), {2: 1, 4: 2}, {1: NEITHER}),
        ({"fast": (0,), "slow": (1,)}, (0,), {1: 1}, {2: NEITHER, 4: NEITHER}),
        ({"slow": (4,)}, (0, 1), {4: 1}, {2: NEITHER}),
        ({"slow": (1, 4)}, (0,), {1: 1, 4: 2}, {2: NEITHER}),
        ({"fast": (2,)}, (2,), {4: 1}, {0: NEITHER, 1: NEITHER}),
        ({"left_out": (2,)}, (0, 1), {4: 1}, {2: BY_NAME}),
        ({"left_out": (0, 1)}, (2,), {4: 1}, {0: BY_NAME, 1: BY_NAME}),
        ({"fast": (1,), "left_out": (4,)}, (1,), {2: 1}, {0: NEITHER, 4: BY_NAME}),
    ],
)
def test_tiers_as_named(
    named: dict[str, tuple[int, ...]],
    fast: tuple[int, ...],
    slow: dict[int, int],
    left_out: dict[int, str],
    tmp_path: Path,
) -> None:
    found = chosen(four(tmp_path), **named)
    assert found.top_nodes == fast
    assert {node: found.rank[node] for node in found.lower} == slow
    assert found.left_out == left_out
    assert found.with_memory == tuple(sorted((*fast, *slow)))
    assert all(set(targets) == set(fast) for targets in found.promotion_targets)
    assert {node for targets in found.demotion_targets for node in targets} <= set(slow)


def test_targets_follow_the_named_tiers(tmp_path: Path) -> None:
    """Slow 1 (kernel tier 4) and 4 (tier 40) below fast 0: 0 demotes to 1 first, then to 4; 1 to 4."""
    found = chosen(four(tmp_path), fast=(0,), slow=(1, 4))
    assert found.demotion_targets[0] == (1, 4)
    assert found.demotion_targets[1] == (4,)
    assert found.tier_source == "named"


@given(kinds=st.tuples(*[st.sampled_from(["fast", "slow", "left_out", ""])] * 4))
def test_every_memory_node_is_fast_slow_or_left_out(
    tmp_path_factory: pytest.TempPathFactory, kinds: tuple[str, ...]
) -> None:
    root = four(tmp_path_factory.mktemp("tree"))
    whole = read_nodes(root)
    named = {
        kind: tuple(node for node, each in zip(whole.with_memory, kinds, strict=True) if each == kind)
        for kind in {*kinds} - {""}
    }
    try:
        found = choose_nodes(root, whole, NodeChoice(**named))
    except UsageError:
        assert "fast" not in kinds
        return
    assert sorted((*found.top_nodes, *found.lower, *found.left_out)) == list(whole.with_memory)
    assert set(named.get("fast", found.top_nodes)) == set(found.top_nodes)
    assert set(named.get("slow", found.lower)) == set(found.lower)
    assert set(named.get("left_out", ())) <= set(found.left_out)


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ({"fast": (3,)}, "node 3, named fast, is no memory node of this machine"),
        ({"left_out": (9,)}, "node 9, named left out, is no memory node"),
        ({"fast": (0, 1), "slow": (1,)}, "node 1 is named fast and slow"),
        ({"slow": (0, 1), "left_out": (2, 4)}, "no fast node is left"),
        ({"left_out": (0, 1, 2, 4)}, "no fast node is left"),
    ],
)
def test_nodes_that_cannot_be_so(named: dict[str, tuple[int, ...]], why: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        chosen(four(tmp_path), **named)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "a", "0-", "-1", "1,,2", "5-1", "0-99999999999", "0 1"])
def test_what_is_no_list_of_nodes(text: str) -> None:
    with pytest.raises(UsageError, match="--fast-nodes"):
        parse_nodes(text, "--fast-nodes")


# ---- GPUs


def power9(tree: Path, gpu: str = "80 80 10 80") -> SysRoot:
    """Two sockets and two GPUs behind NVLink, as firmware of POWER9 describes them: a node for each, at 80 from all."""
    return machine(
        tree,
        Node(0, "10 40 80 80", "0-3"),
        Node(8, "40 10 80 80", "4-7"),
        Node(254, gpu),
        Node(255, "80 80 80 10"),
    )


def test_memory_of_gpus_is_left_out_unless_it_is_named(tmp_path: Path) -> None:
    root = power9(tmp_path)
    found = chosen(root)
    assert (found.with_memory, found.tiers) == ((0, 8), 1)
    assert found.left_out[255] == (
        "it looks like memory of a GPU: no CPUs, and all other nodes at the one distance 80"
    )
    named = chosen(root, slow=(254,))
    assert (named.top_nodes, named.lower) == ((0, 8), (254,))
    assert "GPU" in named.left_out[255]


@pytest.mark.parametrize(
    ("distances", "gpu"),
    [("80 80 10 80", True), ("40 80 10 80", False), ("80 80 10 90", False), ("40 40 10 40", False)],
    ids=["flat", "nearer to a socket", "nearer to a GPU", "no farther than the sockets"],
)
def test_one_flat_distance_gives_a_gpu_away(distances: str, gpu: bool, tmp_path: Path) -> None:
    root = power9(tmp_path, distances)
    assert (254 in gpu_nodes(root, read_nodes(root))) == gpu


def test_what_is_no_gpu(tmp_path: Path) -> None:
    """One socket cannot tell flat from near; latencies are of a memory device; real CXL machines have neither."""
    one = machine(tmp_path / "a", Node(0, "10 80", "0-3"), Node(1, "80 10"))
    assert gpu_nodes(one, read_nodes(one)) == {}
    timed = machine(
        tmp_path / "b",
        Node(0, "10 20 80", "0"),
        Node(1, "20 10 80", "1"),
        Node(2, "80 80 10", perf=(200, 9000)),
    )
    assert gpu_nodes(timed, read_nodes(timed)) == {}
    for name in ("cxl-6.12", "three-tiers-6.12", "two-tiers-6.1"):
        root = captured(name)
        assert gpu_nodes(root, read_nodes(root)) == {}


@pytest.mark.parametrize(("driver", "left_out"), [("NVIDIA", (1,)), ("kmem", ()), ("virtio_mem", ())])
def test_the_kernel_names_memory_of_gpus(driver: str, left_out: tuple[int, ...], tmp_path: Path) -> None:
    """Node 1 has block 8, from 1 GiB on."""
    root = machine(tmp_path, Node(0, "10 80", "0-3"), Node(1, "80 10"))
    put(tmp_path, BLOCK_SIZE, "8000000")
    (tmp_path / NODES / "node1/memory8").mkdir()
    (tmp_path / NODES / "node0/memory0").mkdir()
    put(
        tmp_path,
        "proc/iomem",
        f"00001000-07ffffff : System RAM\n40000000-47ffffff : reserved\n  40000000-47ffffff : System RAM ({driver})",
    )
    found = chosen(root)
    assert tuple(found.left_out) == left_out
    if left_out:
        assert found.left_out[1] == "it is memory of a GPU: the kernel calls it System RAM (NVIDIA)"


def test_flat_memory_of_a_known_driver_is_no_gpu(tmp_path: Path) -> None:
    root = power9(tmp_path)
    put(tmp_path, BLOCK_SIZE, "8000000")
    (tmp_path / NODES / "node254/memory8").mkdir()
    put(tmp_path, "proc/iomem", "40000000-47ffffff : System RAM (kmem)")
    assert list(chosen(root).left_out) == [255]
    put(tmp_path, "proc/iomem", "00000000-00000000 : System RAM (kmem)")
    assert list(chosen(root).left_out) == [254, 255], "without rights the addresses are hidden"


# ---- what follows from it


def test_movers_that_cannot_leave_out_a_node_are_refused(tmp_path: Path) -> None:
    found = chosen(four(tmp_path), left_out=(2,))
    reclaim = LiveSettings(Targets((1,)), mover=MoverSettings(demotion="reclaim"))
    with pytest.raises(UsageError, match="node 2 is left out: it was left out by name"):
        check_left_out(reclaim, found)
    check_left_out(reclaim, chosen(four(tmp_path / "b")))
    check_left_out(LiveSettings(Targets((1,))), found)
    two = machine(
        tmp_path / "c", Node(0, "10 20 30", "0"), Node(1, "20 10 30"), Node(2, "30 30 10"), release="6.17.0"
    )
    why = [need.why for need in kernel_needs(two, chosen(two, slow=(1,)), by_cgroup=False) if not need.met]
    assert why == ["DAMOS of single programs knows one fast and one slow node; this machine has more"]


def test_nothing_moves_from_or_to_a_node_that_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight pages on each of two nodes. Of the machine of node 1 left out, none is below the top tier."""
    kernel = FakeKernel(tmp_path)
    kernel.program(7, [maps_line(START, 16)])
    kernel.populate(7, 0, 8, 0)
    kernel.populate(7, 8, 8, 1)
    monkeypatch.setattr("pghot.live.machine.placement.query_nodes", kernel.query_nodes)
    with mover(kernel, nodes=NodeChoice(left_out=(1,))) as (made, spaces):
        page = seen(made, spaces, 7, addresses(0, 16))
        assert made.takes_part(page).tolist() == [True] * 8 + [False] * 8
        assert not made.lower.any()
        assert made.demote(page[:8], 0, "") == 0
        assert np.unique(made.place[page]).tolist() == [0, 1]
    assert kernel.moves == []


def test_the_kernels_own_tiers_are_kept_when_nothing_is_named() -> None:
    for name in ("three-tiers-6.12", "two-tiers-6.1"):
        root = captured(name)
        assert choose_nodes(root, read_nodes(root), AS_THEY_ARE) == read_nodes(root)
