"""The live topology on trees of real kernels, on machines that nobody here has, and on damaged ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.machine_trees import CAPTURED, NODES, TIERS, Node, captured, machine, put
from pghot.errors import NotPermittedError, UnsupportedError, UsageError
from pghot.kernel.cgroup import read_limits
from pghot.kernel.cpus import parse_map
from pghot.kernel.memory_blocks import BlockRange, read_block_ranges
from pghot.kernel.node_files import node_of_cpu
from pghot.kernel.numa_settings import read_numa_settings
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.zoneinfo import parse_zoneinfo, watermarks
from pghot.live.machine.nodes import free_pages, read_nodes

# name: (rank, where tiers come from, top by our ranks, top by the kernel, demotion targets)
REAL = {
    "one-node-6.18": ((0,), "memory_tiering", (0,), (0,), ((),)),
    "two-tiers-6.12": ((0, 1), "memory_tiering", (0,), (0,), ((1,), ())),
    "three-tiers-6.12": ((1, 0, 2), "memory_tiering", (1,), (0, 1), ((2,), (0, 2), ())),
    "two-tiers-6.1": ((0, 1), "attributes", (0,), (0, 1), ((1,), ())),
    "cxl-6.12": ((0, 1), "memory_tiering", (0,), (0,), ((1,), ())),
}
# The kernel's documented example: DRAM with CPUs, HBM, PMEM.
EXAMPLE = ("10 20 30", "20 10 40", "30 40 10")


@pytest.mark.parametrize("name", REAL)
def test_real_machines(name: str) -> None:
    rank, source, top, kernel_top, demotion = REAL[name]
    nodes = read_nodes(captured(name))
    assert nodes.rank == rank
    assert nodes.tier_source == source
    assert nodes.top_nodes == top
    assert nodes.kernel_top_nodes == kernel_top
    assert nodes.demotion_targets == demotion
    assert all(targets == top for targets in nodes.promotion_targets)


def test_no_captured_tree_is_forgotten() -> None:
    assert {path.name for path in CAPTURED.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(
        REAL
    )


@pytest.mark.parametrize("name", ["two-tiers-6.12", "three-tiers-6.12"])
def test_tiers_formed_here_are_those_that_the_kernel_formed(name: str, tmp_path: Path) -> None:
    shown = read_nodes(captured(name))
    shutil.copytree(CAPTURED / name, tmp_path / name)
    shutil.rmtree(tmp_path / name / TIERS)
    formed = read_nodes(SysRoot(tmp_path / name))
    assert formed.tier_source == "attributes"
    assert formed.tier_number == shown.tier_number
    assert formed.rank == shown.rank


def test_a_device_without_attributes_is_in_the_tier_that_the_kernel_gives_it(tmp_path: Path) -> None:
    shown = read_nodes(captured("cxl-6.12"))
    shutil.copytree(CAPTURED / "cxl-6.12", tmp_path / "cxl")
    shutil.rmtree(tmp_path / "cxl" / TIERS)
    assert read_nodes(SysRoot(tmp_path / "cxl")).tier_number == shown.tier_number == (4, 22)


def test_a_kernel_that_knows_the_latencies_but_has_one_tier_is_corrected_and_this_is_said() -> None:
    nodes = read_nodes(captured("two-tiers-6.1"))
    assert nodes.tiers == 2
    assert any("nodes of unequal latency in one tier" in note for note in nodes.notes)


@pytest.mark.parametrize("release", ["5.14.0-503.11.1.el9_5.x86_64", "6.12.0"])
def test_memory_that_latencies_tell_apart_is_in_two_tiers_though_no_node_of_it_has_cpus(
    release: str, tmp_path: Path
) -> None:
    """CPUs on node 0, memory on the others: the kernel knows no DRAM to compare with, and has one tier, whatever its
    version. HBM of 80 ns and 200 GB/s has abstract distance 576, tier 576 // 128. Memory of 320 ns and 25 GB/s has four
    times the latency and an eighth of the bandwidth: 576 * 4 * 8 = 18432, tier 144."""
    root = machine(
        tmp_path,
        Node(0, "10 20 30", "0-7", mib=0),
        Node(1, "20 10 30", tier=22, perf=(320, 25_000)),
        Node(2, "30 30 10", tier=22, perf=(80, 200_000)),
        release=release,
    )
    nodes = read_nodes(root)
    assert nodes.tier_source == "attributes"
    assert nodes.tier_number == (-1, 144, 4)
    assert (nodes.top_nodes, nodes.demotion_targets[2]) == ((2,), (1,))
    assert any("unequal latency in one tier" in note for note in nodes.notes)


def test_the_tiers_of_a_kernel_with_backported_features_are_taken_as_they_are(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        Node(0, "10 30", "0-7", tier=4, perf=(10, 32_768)),
        Node(1, "30 10", tier=72, perf=(40, 8192)),
        release="5.14.0-503.11.1.el9_5.x86_64",
    )
    nodes = read_nodes(root)
    assert (nodes.tier_source, nodes.rank, nodes.notes) == ("memory_tiering", (0, 1), ())


def test_sizes_and_attributes_of_a_real_machine() -> None:
    nodes = read_nodes(captured("two-tiers-6.12"))
    assert nodes.capacity_pages == (992232 // 4, 1029824 // 4)
    assert nodes.cpus == ((0, 1), ())
    assert nodes.distances == ((10, 30), (30, 10))
    slow = nodes.access[1]
    assert slow is not None
    assert (slow.access_class, slow.initiators) == (1, (0,))
    assert (slow.read_latency_ns, slow.write_bandwidth_mb_s) == (40, 8192)


@pytest.mark.parametrize(
    "nodes",
    [
        (Node(0, EXAMPLE[0], "0-3", tier=4), Node(1, EXAMPLE[1], tier=2), Node(2, EXAMPLE[2], tier=22)),
        (
            Node(0, EXAMPLE[0], "0-3", perf=(100, 200_000)),
            Node(1, EXAMPLE[1], perf=(110, 700_000)),
            Node(2, EXAMPLE[2], perf=(300, 40_000)),
        ),
    ],
    ids=["tiers", "attributes"],
)
def test_the_kernels_example_has_hbm_on_top(nodes: tuple[Node, ...], tmp_path: Path) -> None:
    found = read_nodes(machine(tmp_path, *nodes))
    assert found.rank == (1, 0, 2)
    assert found.top_nodes == (1,)
    assert found.lower == (0, 2)
    assert found.demotion_targets == ((2,), (0, 2), ())


def test_two_sockets_are_one_tier_and_nothing_is_below(tmp_path: Path) -> None:
    root = machine(tmp_path, Node(0, "10 21", "0-7", tier=4), Node(1, "21 10", "8-15", tier=4))
    nodes = read_nodes(root)
    assert nodes.top_nodes == (0, 1)
    assert nodes.lower == ()
    assert nodes.promotion_targets == ((0, 1), (1, 0))
    assert nodes.demotion_targets == ((), ())


def test_two_sockets_with_cxl_and_gaps_in_the_numbers(tmp_path: Path) -> None:
    """Online are 0, 1, 4, 5: the columns of `distance` are those of the online nodes."""
    root = machine(
        tmp_path,
        Node(0, "10 21 14 24", "0-7", tier=4),
        Node(1, "21 10 24 14", "8-15", tier=4),
        Node(4, "14 24 10 26", tier=22),
        Node(5, "24 14 26 10", tier=22),
    )
    nodes = read_nodes(root)
    assert nodes.rank == (0, 0, 2, 2, 1, 1)
    assert nodes.lower == (4, 5)
    assert nodes.distances[0] == (10, 21, 255, 255, 14, 24)
    assert nodes.promotion_targets[4] == (0, 1)
    assert nodes.promotion_targets[5] == (1, 0)
    assert nodes.demotion_targets[0] == (4, 5)
    assert nodes.demotion_targets[1] == (5, 4)
    assert nodes.capacity_pages[2:4] == (0, 0)
    assert free_pages(root, nodes).tolist() == [131072, 131072, 0, 0, 131072, 131072]


def test_memory_on_node_0_and_cpus_on_node_1_without_tiers_of_the_kernel(tmp_path: Path) -> None:
    root = machine(tmp_path, Node(0, "10 20"), Node(1, "20 10", "0-3"), release="5.15.0")
    nodes = read_nodes(root)
    assert nodes.tier_source == "CPUs"
    assert nodes.rank == (1, 0)
    assert nodes.kernel_top_nodes == (1,)
    assert nodes.notes == ()


def test_a_node_of_cpus_only_is_no_target_but_has_one(tmp_path: Path) -> None:
    root = machine(tmp_path, Node(0, "10 20", "0-3", tier=4), Node(1, "20 10", "4-7", mib=0))
    nodes = read_nodes(root)
    assert nodes.with_memory == (0,)
    assert nodes.promotion_targets == ((0,), (0,))
    assert nodes.demotion_targets == ((), ())
    assert nodes.tiers == 1
    assert nodes.notes == ()


# ---- captured otherwise than by us


def test_an_offline_node_is_no_tier_and_no_target(tmp_path: Path) -> None:
    """Node 2 went offline: its directory is gone, `has_memory` and the distances still have it."""
    root = machine(tmp_path, Node(0, "10 20 17", "0-3"), Node(1, "20 10 28"))
    put(tmp_path, f"{NODES}/has_memory", "0-2")
    put(tmp_path, f"{NODES}/possible", "0-2")
    nodes = read_nodes(root)
    assert (nodes.online, nodes.with_memory, nodes.tiers) == ((0, 1), (0, 1), 2)
    assert nodes.demotion_targets == ((1,), ())
    assert nodes.distances == ((10, 20), (20, 10))
    put(tmp_path, f"{NODES}/online", "1")  # now the first one, which has the CPUs
    nodes = read_nodes(root)
    assert (nodes.with_memory, nodes.kernel_top_nodes, nodes.tiers) == ((1,), (), 1)
    assert nodes.distances[1] == (20, 10)  # itself is the second of those that are possible


def test_lists_that_end_in_a_nul(tmp_path: Path) -> None:
    plain = machine(tmp_path / "plain", Node(0, "10 20", "0-3"), Node(1, "20 10"))
    nul = machine(tmp_path / "nul", Node(0, "10 20", "0-3\n\0"), Node(1, "20 10"))
    for name, text in (("online", "0-1\n\0"), ("has_memory", "0-1\0")):
        put(tmp_path / "nul", f"{NODES}/{name}", text)
    assert read_nodes(nul) == read_nodes(plain)


def test_a_tree_without_lists_has_the_nodes_of_its_directories(tmp_path: Path) -> None:
    """No `online`, `has_memory` or `cpulist`: the directories, sizes and `cpumap` say the same. CPUs 0, 2 and 32."""
    root = machine(
        tmp_path, Node(0, "10 20 30", "0,2,32"), Node(2, "20 10 30"), Node(7, "30 30 10", "4", mib=0)
    )
    whole = read_nodes(root)
    for name in ("online", "has_memory", "node0/cpulist", "node2/cpulist", "node7/cpulist"):
        (tmp_path / NODES / name).unlink()
    put(tmp_path, f"{NODES}/node0/cpumap", "0000,00000001,00000005")
    put(tmp_path, f"{NODES}/node2/cpumap", "0000,00000000,00000000")
    put(tmp_path, f"{NODES}/node7/cpumap", "00000010")
    assert read_nodes(root) == whole
    assert whole.cpus[0] == (0, 2, 32)
    assert whole.with_memory == (0, 2)
    assert node_of_cpu(root).tolist() == [0]  # no `possible`: CPU 0 alone
    put(tmp_path, f"{NODES}/node0/cpumap", "0,wrong")
    with pytest.raises(UnsupportedError, match=r"node0/cpumap is '0,wrong'"):
        read_nodes(root)


@given(st.sets(st.integers(0, 200)), st.integers(0, 3))
def test_a_map_is_the_list_in_bits(numbers: set[int], words: int) -> None:
    bits = sum(1 << number for number in numbers)
    text = f"{bits:x}".zfill(8 * (words + len(f"{bits:x}") // 8 + 1))
    assert parse_map(",".join(text[i : i + 8] for i in range(0, len(text), 8)) + "\n") == sorted(numbers)


# ---- damaged


def two_tiers(tree: Path) -> SysRoot:
    return machine(tree, Node(0, "10 20", "0-3", tier=4), Node(1, "20 10", tier=22))


def test_a_node_that_no_tier_names_is_placed_and_this_is_said(tmp_path: Path) -> None:
    root = two_tiers(tmp_path)
    put(tmp_path, f"{TIERS}/memory_tier22/nodelist", "")
    nodes = read_nodes(root)
    assert (nodes.rank, nodes.tier_source) == ((0, 1), "CPUs")
    assert any("names no tier for node 1" in note for note in nodes.notes)


def test_a_node_without_a_size_is_no_place_for_pages(tmp_path: Path) -> None:
    root = two_tiers(tmp_path)
    (tmp_path / NODES / "node1/meminfo").unlink()
    nodes = read_nodes(root)
    assert nodes.lower == ()
    assert free_pages(root, nodes).tolist() == [131072, 0]
    assert any(note.startswith("node 1 has no readable size") for note in nodes.notes)


def test_missing_watermarks_and_distances_are_said(tmp_path: Path) -> None:
    root = two_tiers(tmp_path)
    put(tmp_path, "proc/zoneinfo", "no zones here")
    put(tmp_path, f"{NODES}/node1/distance", "")
    nodes = read_nodes(root)
    assert nodes.high_pages == (0, 0)
    assert [note.split(" in ")[0] for note in nodes.notes[:1]] == ["node 0 has no watermarks"]
    assert any("node 1 tells no distances" in note for note in nodes.notes)


@pytest.mark.parametrize(
    "name",
    [f"{NODES}/has_memory", f"{NODES}/online", f"{NODES}/node0/cpulist", f"{TIERS}/memory_tier4/nodelist"],
)
def test_garbage_in_a_list_names_the_file(name: str, tmp_path: Path) -> None:
    root = two_tiers(tmp_path)
    put(tmp_path, name, "nonsense")
    with pytest.raises(UnsupportedError, match=f"/{name} is 'nonsense'"):
        read_nodes(root)


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    class Guarded(SysRoot):
        def read(self, name: str) -> str:
            if name.endswith("has_memory"):
                raise PermissionError(13, "Permission denied")
            return super().read(name)

    two_tiers(tmp_path)
    with pytest.raises(NotPermittedError, match="has_memory"):
        read_nodes(Guarded(tmp_path))


def test_a_kernel_without_numa_is_an_error_with_the_option(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="no memory nodes") as error:
        read_nodes(SysRoot(tmp_path))
    assert "CONFIG_NUMA" in error.value.hint


# ---- free memory and watermarks


def test_free_pages_reads_one_small_file_for_each_node_with_memory() -> None:
    read = []

    class Counting(SysRoot):
        def read(self, name: str) -> str:
            read.append(name)
            return super().read(name)

    root = captured("three-tiers-6.12")
    nodes = read_nodes(root)
    free_pages(Counting(root.root), nodes)
    assert read == [f"/{NODES}/node{node}/meminfo" for node in (0, 1, 2)]


def test_a_hidden_promotion_watermark_is_computed_as_the_kernel_does() -> None:
    text = captured("two-tiers-6.12").read("/proc/zoneinfo")
    hidden = "\n".join(line for line in text.splitlines() if "promo" not in line)
    assert "promo" in text
    assert parse_zoneinfo(hidden) == parse_zoneinfo(text)


def test_watermarks_are_sums_over_the_zones_of_a_node() -> None:
    zones = parse_zoneinfo(captured("two-tiers-6.12").read("/proc/zoneinfo"))
    assert [(zone.node, zone.name) for zone in zones] == [(0, "DMA"), (0, "DMA32"), (1, "DMA32")]
    own = [zone for zone in zones if zone.node == 0]
    marks = watermarks(zones, 0)
    assert marks.high == sum(zone.high for zone in own)
    assert marks.min < marks.low < marks.high < marks.promo


def test_per_cpu_lines_are_not_watermarks(tmp_path: Path) -> None:
    nodes = read_nodes(two_tiers(tmp_path))
    assert nodes.high_pages == (150, 150)
    assert nodes.promo_pages == (175, 175)


@given(st.text(alphabet="Node 012,zone\n pagesfrhiglowmnd:-", max_size=300))
def test_no_text_breaks_the_zone_parser(text: str) -> None:
    assert all(zone.managed > 0 for zone in parse_zoneinfo(text))


# ---- blocks


def test_blocks_of_a_real_machine_with_cxl_memory() -> None:
    ranges = read_block_ranges(captured("cxl-6.12"))
    assert [each.node for each in ranges] == [0, 1]
    assert ranges[1] == BlockRange(1, 214 * 32768, 6 * 32768)


def test_a_block_that_two_nodes_share_belongs_to_neither(tmp_path: Path) -> None:
    put(tmp_path, "sys/devices/system/memory/block_size_bytes", "8000000")
    for node, block in ((0, 0), (0, 1), (1, 1), (1, 2)):
        put(tmp_path, f"{NODES}/node{node}/memory{block}/state", "online")
    ranges = read_block_ranges(SysRoot(tmp_path))
    assert [each.node for each in ranges] == [0, -1, 1]


def test_a_kernel_without_blocks_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="block_size_bytes"):
        read_block_ranges(SysRoot(tmp_path))


# ---- cgroups and knobs


def test_the_least_limit_of_a_group_and_its_ancestors_is_in_force(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/a"
    put(tmp_path, f"{group}/memory.max", "1048576")
    put(tmp_path, f"{group}/memory.high", "max")
    put(tmp_path, f"{group}/cpuset.mems.effective", "0-1")
    put(tmp_path, f"{group}/b/memory.max", "2097152")
    put(tmp_path, f"{group}/b/memory.high", "4096")
    put(tmp_path, f"{group}/b/memory.current", "123")
    limits = read_limits(SysRoot(tmp_path), "/a/b")
    assert (limits.max_bytes, limits.high_bytes, limits.current_bytes) == (1048576, 4096, 123)
    assert limits.nodes == (0, 1)
    assert read_limits(SysRoot(tmp_path), "/a").high_bytes is None
    with pytest.raises(UsageError, match="no cgroup /c"):
        read_limits(SysRoot(tmp_path), "/c")


def test_knobs_of_a_real_machine_and_of_a_kernel_without_them(tmp_path: Path) -> None:
    knobs = read_numa_settings(captured("two-tiers-6.12"))
    assert (knobs.numa_balancing, knobs.demotion_enabled) == (0, False)
    assert (knobs.promote_rate_limit_mb_s, dict(knobs.weights)) == (65536, {0: 1, 1: 1})
    none = read_numa_settings(SysRoot(tmp_path))
    assert (none.numa_balancing, none.demotion_enabled, none.promote_rate_limit_mb_s) == (None, None, None)


# ---- attributes


def test_without_the_class_of_cpus_that_of_any_initiator_counts(tmp_path: Path) -> None:
    """Linux 5.2 to 5.9 shows access0 only."""
    root = machine(tmp_path, Node(0, "10 20", "0-3", perf=(100, 1000)), Node(1, "20 10", perf=(400, 1000)))
    for node in (0, 1):
        shutil.rmtree(tmp_path / NODES / f"node{node}/access1")
    nodes = read_nodes(root)
    assert [access.access_class for access in nodes.access if access] == [0, 0]
    assert (nodes.tier_source, nodes.tier_number) == ("attributes", (4, 18))


def test_attributes_of_0_are_none(tmp_path: Path) -> None:
    root = machine(tmp_path, Node(0, "10 20", "0-3", perf=(100, 0)), Node(1, "20 10", perf=(400, 1000)))
    nodes = read_nodes(root)
    assert nodes.access[0] is None
    assert (nodes.tier_source, nodes.rank) == ("CPUs", (0, 1))
