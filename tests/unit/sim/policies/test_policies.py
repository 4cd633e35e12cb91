"""The policies: one protocol, known bounds, and each moving what its rule says."""

from __future__ import annotations

import ast
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pghot
from builders.accesses import trace_from_accesses
from pghot.engine.accesses import Accesses, Source
from pghot.errors import UsageError
from pghot.lab.run_spec import RunSpec
from pghot.lab.workloads.workload_files import make_workload
from pghot.policies.policy import World
from pghot.recording.trace import MemoryKind, MemoryTrace, Region
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import Antagonist, load_topology
from pghot.sim.policies import POLICIES, expand, groups
from pghot.sim.policies.static_class import in_class
from pghot.sim.sources.abit import AbitScan
from pghot.sim.sources.chmu import Chmu
from pghot.sim.sources.hintfaults import HintFaults
from pghot.sim.sources.pebs import Pebs

METHODS = ["start", "observe", "act", "tracker_bytes", "counters"]
ROOT = Path(pghot.__file__).parent
FILES = sorted([*(ROOT / "policies").glob("*.py"), *(ROOT / "sim/policies").glob("*.py")])


def gups(seed: int = 0) -> Any:
    """4096 pages, a tenth of them hot, touched in random order first: first touch knows nothing."""
    return make_workload(
        "gups",
        seed,
        footprint="16 MiB",
        hot_share="10%",
        hot_traffic="95%",
        slices=300,
        accesses_per_slice=20_000,
        init="random",
    )


def play(trace: Any, *specs: str | RunSpec, **settings_: Any) -> dict[str, dict[str, Any]]:
    chosen = {"fast_share": 0.2, "times": 100.0, "threads": 1, "duration_s": None, "seeds": 1, **settings_}
    result = pghot.compare(trace, policies=list(specs), **chosen)
    return {row["label"]: row for row in result.summary.to_pylist()}


@pytest.mark.parametrize("name", POLICIES.names())
def test_every_policy_speaks_the_protocol(name: str) -> None:
    policy = POLICIES.make(name)
    assert policy.name == name
    assert policy.summary
    assert policy.kind in ("baseline", "bound", "static", "mover", "oracle")
    assert all(callable(getattr(policy, method)) for method in METHODS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_methods_come_in_the_same_order_in_every_file(path: Path) -> None:
    for found in ast.parse(path.read_text()).body:
        if isinstance(found, ast.ClassDef):
            names = [
                part.name for part in found.body if isinstance(part, ast.FunctionDef) and part.name in METHODS
            ]
            assert names == sorted(names, key=METHODS.index)


def test_names_and_groups() -> None:
    assert groups() == {
        "all": POLICIES.names(),
        "pghot": [
            "pghot-default",
            "pghot-default-f1",
            "pghot-hashed",
            "pghot-hashed-f1",
            "pghot-precise",
            "pghot-precise-f1",
        ],
        "oracles": ["oracle-epoch", "oracle-static"],
        "bounds": ["all-fast", "all-slow"],
    }
    assert expand(["pghot", "none", "pghot-default"]) == [*groups()["pghot"], "none"]
    for refuse in (POLICIES.make, lambda name: expand([name])):
        with pytest.raises(UsageError, match="unknown policy 'numab'") as caught:
            refuse("numab")
        assert "numab2" in caught.value.hint


def test_policies_are_listed_by_kind_those_that_run_live_first() -> None:
    assert POLICIES.names() == [
        "none", "demotion", "all-fast", "all-slow", "interleave", "soar", "static-class",
        "hemem", *groups()["pghot"],
        "alto-hemem-colloid", "alto-numab2", "alto-tpp", "autotiering", "chrono", "damos",
        "equilibria", "hemem-colloid", "hybridtier", "lru-bw", "memtis", "multi-clock", "nomad", "numab2", "pact",
        "tpp", "tpp-colloid",
        "oracle-epoch", "oracle-static",
    ]  # fmt: skip


def test_bounds_hold_for_every_policy() -> None:
    rows = play(gups(), "all")
    assert rows["all-fast"]["fast_miss_share"] == 1.0
    assert rows["all-slow"]["fast_miss_share"] == 0.0
    assert rows["none"]["promotions"] == rows["none"]["demotions"] == 0
    for row in rows.values():
        assert row["time_s"] >= rows["all-fast"]["time_s"] * (1 - 1e-9)
        assert row["time_s"] > 0
        if row["kind"] in ("static", "baseline", "bound"):
            assert row["promotions"] == 0
    assert rows["oracle-static"]["fast_miss_share"] > 0.9
    assert rows["oracle-static"]["speedup"] >= max(
        rows[name]["speedup"] for name in ("none", "interleave", "static-class")
    )


@pytest.mark.parametrize("source", ["hintfaults", "abit", "ibs", "pebs", "chmu", "truth"])
@pytest.mark.parametrize("store", ["default", "precise", "hashed"])
def test_pghot_promotes_the_hot_set_with_each_store_and_source(store: str, source: str) -> None:
    # Hint faults need threshold 1 (docs/sources.md); samplers see a small trace rarely: sample more of it.
    rate = {"ibs": {"period_ops": 200}, "pebs": {"period_misses": 200}}.get(source, {})
    spec = RunSpec(f"pghot-{store}", (source,), {"freq_threshold": 1}, {source: rate}, where="to come")
    rows = play(gups(), spec, times=200.0)
    row = rows[spec.label]
    assert row["promotions"] > 0
    assert row["fast_miss_share"] > rows["none"]["fast_miss_share"] + 0.05
    assert row["coverage"] > rows["none"]["coverage"]
    assert row["tracker_bytes_per_page"] > 0


def test_the_same_seed_gives_the_same_figures_and_another_seed_others() -> None:
    spec = RunSpec("pghot-precise", ("pebs",), {"freq_threshold": 1}, {"pebs": {"period_misses": 200}})
    first, again = (play(gups(), spec)[spec.label] for _ in range(2))
    assert first == again
    assert play(gups(1), spec, first_seed=1)[spec.label]["time_s"] != first["time_s"]


def test_numab2_moves_pages_that_fault_soon_and_makes_the_program_pay() -> None:
    rows = play(gups(), "numab2")
    row = rows["numab2/hintfaults"]
    assert row["promotions"] > 100
    assert row["moving_app_share"] > 0
    assert rows["none"]["moving_app_share"] == 0
    idle = play(gups(), RunSpec("numab2", ("hintfaults",), {"rate_limit_mb_s": 0}))["numab2/hintfaults"]
    assert idle["promotions"] < row["promotions"], (
        "the rate limit holds back what free space does not let through"
    )


def test_lru_bw_moves_only_while_the_slow_tier_is_pressed() -> None:
    trace = gups()
    calm = play(trace, "lru-bw", placement="slow", threads=1, mlp=1.0)["lru-bw"]
    pressed = play(trace, "lru-bw", placement="slow", threads=64, mlp=10.0)["lru-bw"]
    assert calm["promotions"] == 0
    assert pressed["promotions"] > 0


def test_samplers_pack_the_hot_set() -> None:
    """Whoever counts 4 KiB pages gets one sample in 512 of those that count 2 MiB, so that rings of 150 lose most."""
    for name, period in (("hemem", 100), ("hemem-colloid", 100), ("memtis", 100), ("hybridtier", 1_000)):
        spec = RunSpec(name, ("pebs",), {}, {"pebs": {"period_misses": period}})
        rows = play(gups(), spec, placement="slow", times=512.0)
        assert rows[spec.label]["fast_miss_share"] > 0.5
        assert rows["none"]["fast_miss_share"] == 0.0


def test_interleave_deals_by_bandwidth() -> None:
    row = play(gups(), "interleave", fast_share=0.9)["interleave"]
    assert row["fast_miss_share"] == pytest.approx(8 / 9, abs=0.03), "200 to 26 GB/s rounds to 8 : 1"


def two_regions() -> MemoryTrace:
    """A heap of 100 hot pages and a library of 100 that are touched as often, in turn."""
    page = np.tile(np.arange(200, dtype=np.uint32), 50)
    trace = trace_from_accesses(page, accesses_per_slice=200)
    regions = (
        Region(0, 100, 0, 0, "/lib/libc.so.6", MemoryKind.FILE),
        Region(100, 100, 0, 1 << 20, "[heap]", MemoryKind.HEAP),
    )
    return MemoryTrace(trace.info, trace.pages, regions, trace.parts)


def test_static_class_keeps_its_classes_in_and_out() -> None:
    heap_in = play(two_regions(), "static-class", fast_share=0.6)["static-class"]
    assert heap_in["fast_miss_share"] == pytest.approx(0.5), "the heap, and no page of the library"
    swapped = RunSpec("static-class", (), {"fast": ("/lib/*",), "slow": ("heap",)})
    assert play(two_regions(), swapped, fast_share=0.6)["static-class"]["fast_miss_share"] == pytest.approx(
        0.5
    )


def test_a_class_is_the_kind_of_memory_whatever_its_name() -> None:
    segment = Region(0, 1, 0, 0, "/dev/shm/pool", MemoryKind.SHARED)
    assert in_class(segment, ["shared memory"])
    assert in_class(segment, ["/dev/shm/*"])
    assert not in_class(segment, ["file", "anon", "heap", "stack"])
    arena = Region(0, 1, 0, 0, "glibc: arena", MemoryKind.HEAP)  # as a program may name it
    assert in_class(arena, ["heap"])
    assert not in_class(Region(0, 1, 0, 0, "heap"), ["heap"]), "a workload's region that is named so"
    assert in_class(Region(0, 1, 0, 0, "[stack:12]", MemoryKind.STACK), ["stack"])
    assert in_class(Region(0, 1, 0, 0, "[anon]"), ["[anon]"]), "a bracket is no set of characters"


@given(st.lists(st.integers(0, 7), min_size=8, max_size=60), st.integers(1, 3))
@settings(max_examples=25)
def test_no_fixed_placement_beats_the_static_oracle(stream: list[int], capacity: int) -> None:
    """Brute force over all choices of `capacity` pages."""
    page = np.array([*range(8), *stream], np.uint32)
    trace = trace_from_accesses(page, accesses_per_slice=8)
    counts = np.bincount(page, minlength=8)
    best = max(sum(counts[list(chosen)]) for chosen in combinations(range(8), capacity))
    result = pghot.compare(
        trace, policies=["oracle-static"], fast_share=capacity / 8, warmup=0, duration_s=None
    )
    held = result.setup.nodes[0].capacity_pages
    reserve = 1  # the watermark of so small a node
    row = next(r for r in result.summary.to_pylist() if r["label"] == "oracle-static")
    expected = max(
        (sum(counts[list(chosen)]) for chosen in combinations(range(8), max(0, held - reserve))), default=0
    )
    assert held == capacity
    assert row["fast_miss_share"] * len(page) == pytest.approx(expected)
    assert expected <= best


def test_colloid_moves_pages_away_from_a_fast_tier_that_is_slower_under_load() -> None:
    """A quarter of the accesses fit where all would saturate: HeMem packs on, Colloid backs off."""
    tiers = load_topology("dram-cxl").model_copy(update={"antagonist": Antagonist(node=0, cores=80)})
    spec = {"sources": ("pebs",), "source_options": {"pebs": {"period_misses": 10_000}}}
    rows = play(
        gups(),
        RunSpec("hemem", **spec),
        RunSpec("hemem-colloid", **spec),
        tiers=tiers,
        threads=32,
        mlp=9.3,
        times=512.0,
        duration_s=20.0,
    )
    assert rows["hemem-colloid/pebs"]["fast_miss_share"] < rows["hemem/pebs"]["fast_miss_share"]
    assert rows["hemem-colloid/pebs"]["demotions"] > 0


def test_the_oracle_of_epochs_swaps_only_what_repays() -> None:
    """Two halves that take turns: swapping pays unless a move costs more than an epoch of misses."""
    turns = [np.tile(np.arange(100, dtype=np.uint32) + 100 * (turn % 2), 200) for turn in range(6)]
    trace = trace_from_accesses(np.concatenate(turns), accesses_per_slice=1_000)
    cheap = play(trace, "oracle-epoch", fast_share=0.6, epoch_slices=20)["oracle-epoch"]
    assert cheap["promotions"] > 200
    slow_wire = load_topology("dram-cxl").model_dump()
    slow_wire["nodes"][1]["latency_ns"] = 101.0
    slow_wire["costs"]["shootdown_ipi_ns"] = 1e9
    dear = play(
        trace,
        "oracle-epoch",
        fast_share=0.6,
        epoch_slices=20,
        tiers=type(load_topology("dram-cxl"))(**slow_wire),
    )["oracle-epoch"]
    assert dear["promotions"] == 0


def test_numab2_refuses_a_page_that_faulted_late() -> None:
    machine = SimulatedMachine(load_topology("dram-cxl"), 2_000_000, 4096, np.array([100_000, 2_100_000]), 1)
    machine.place[:] = 1
    machine.place[:99_000] = 0  # no free space to let anything through
    machine.free_pages[:] = [1_000, 199_000]
    policy = POLICIES.make("numab2")
    world = World(machine, 2_000_000, 4096, 1.0, 0)
    policy.start(world)
    pages = np.array([1_500_000, 1_500_001], np.uint32)
    soon_and_late = np.array([10, 30_000], np.uint32)
    policy.observe(
        world,
        HintFaults,
        Accesses(pages, np.zeros(2, np.int16), np.ones(2, np.uint32), 40_000, True, soon_and_late),
    )
    assert machine.place[pages].tolist() == [0, 1]


@pytest.mark.parametrize("source", [HintFaults, Pebs, AbitScan, Chmu])
def test_whoever_reports_pays_for_the_walk_of_the_hash_list(source: Source) -> None:
    """20 ns a step: from the program in a fault or an interrupt, else from the source's thread."""
    machine = SimulatedMachine(load_topology("dram-cxl"), 10_000, 4096, np.array([1_000, 20_000]), 1)
    machine.place[:] = 1
    policy = POLICIES.make("pghot-hashed", faithful=("long-hash-lists",), table_share=1.0)
    world = LabWorld(machine, 10_000, 4096, 1.0, 0, None)  # type: ignore[arg-type]
    policy.start(world)
    page = np.arange(5_000, dtype=np.uint32)
    for now_ms in (1, 2):
        seen = Accesses(page, np.zeros(5_000, np.int16), np.ones(5_000, np.uint32), now_ms)
        policy.observe(world, source, seen)
    walked_ns = 20.0 * policy.engine.store.list_steps  # type: ignore[attr-defined]
    assert walked_ns > 0
    paid = (machine.ledger.tracking_app_ns, machine.ledger.tracking_kernel_ns)
    assert paid == ((walked_ns, 0.0) if source in (HintFaults, Pebs) else (0.0, walked_ns))
    assert set(machine.kernel_threads) == (set() if source in (HintFaults, Pebs) else {source.name})


@pytest.mark.parametrize("tiers", ["dram-cxl", "two-socket-cxl", "hbm-dram-cxl"])
@pytest.mark.parametrize("placement", ["first-touch", "slow", "interleave"])
def test_all_fast_is_all_fast_on_every_machine_from_every_placement(tiers: str, placement: str) -> None:
    rows = play(gups(), "all-fast", "static-class", tiers=tiers, placement=placement)
    assert rows["all-fast"]["fast_miss_share"] == 1.0
