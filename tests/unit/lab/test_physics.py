"""What must hold of whole runs, whatever the policies do: nothing is gained where nothing is to be gained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import pghot
from builders.replicated import replicated
from pghot.lab.run_spec import RunSpec
from pghot.lab.workloads.workload_files import workload_from_table
from pghot.recording.trace import MemoryTrace, Region, SliceBatch, Trace
from pghot.sim.machine.topology import Topology

MOVERS = (
    RunSpec("numab2", ("hintfaults",)),
    RunSpec("hemem", ("pebs",)),
    RunSpec("pghot-default", ("abit",)),
)


def workload(**keys: Any) -> Trace:
    table = {"footprint": "32 MiB", "slices": 300, "accesses_per_slice": 40_000, "threads": 8, **keys}
    return workload_from_table(table, "made", 0)


def renumbered(trace: Trace, together: int) -> MemoryTrace:
    """The same accesses, each page under another number; `together` neighbours stay neighbours."""
    pieces = np.random.default_rng(1).permutation(trace.pages // together)
    order = (pieces[:, None] * together + np.arange(together)).ravel().astype(np.uint32)
    parts = []
    for batch in trace.batches():
        page, rows = order[batch.page], []
        for i in range(batch.slices):
            part = np.arange(batch.offsets[i], batch.offsets[i + 1])
            rows.append(part[np.argsort(page[part], kind="stable")])
        row = np.concatenate(rows)
        columns = (
            "touches",
            "misses",
            "sequential",
            "writes",
            "node",
            "process",
            "thread",
            "strided",
            "dependent",
        )
        parts.append(
            SliceBatch(
                batch.start_ns,
                batch.instructions,
                batch.offsets,
                page[row],
                **{name: getattr(batch, name)[row] for name in columns},
            )
        )
    return MemoryTrace(replace(trace.info, source="import"), trace.pages, trace.regions, parts)


def speedups(trace: Trace, **settings: Any) -> dict[str, float]:
    """Steady run time of `none` over that of each mover."""
    result = pghot.compare(trace, policies=[RunSpec("none"), *MOVERS], fast_share=0.3, seeds=1, **settings)
    rows = {row["label"]: row["steady_time_s"] for row in result.summary.to_pylist()}
    return {spec.label: rows["none"] / rows[spec.label] for spec in MOVERS}


def test_uniform_accesses_gain_nothing() -> None:
    """Every page is worth the same: who moves pages can only lose."""
    for label, gain in speedups(workload(kind="uniform", init="random")).items():
        assert gain <= 1.01, label


def test_the_numbers_of_the_pages_mean_nothing() -> None:
    """But for which of them share a huge page, which HeMem counts and moves whole: 2 pages that stand for 256 each."""
    trace = workload(kind="gups", init="random", hot_share="20%", mlp=4)
    system = {"stands_for": 256.0 * (32 << 20), "duration_s": 60.0}
    plain, other = speedups(trace, **system), speedups(renumbered(trace, together=2), **system)
    for label, gain in plain.items():
        assert other[label] == pytest.approx(gain, rel=0.02), label
    assert plain["hemem/pebs"] > 1.4  # who finds the hot pages finds them under any number


def two_nodes(fast_gb_s: float, slow_gb_s: float, slow_curve: str = "ddr5") -> Topology:
    """100 and 250 ns, without compute."""
    nodes = [
        {"name": "a", "cpus": 64, "capacity": "1 GiB", "latency_ns": 100, "bandwidth_gb_s": fast_gb_s},
        {
            "name": "b",
            "capacity": "1 GiB",
            "latency_ns": 250,
            "bandwidth_gb_s": slow_gb_s,
            "curve": slow_curve,
        },
    ]
    return Topology.model_validate({"nodes": nodes, "costs": {"instruction_ns": 0, "mlp_sequential": 60}})


def run_times(
    trace: Trace, tiers: Topology, *policies: str, fast_share: float | None = None
) -> dict[str, float]:
    """Seconds of each policy, with as many threads as the workload says."""
    specs, threads = [RunSpec(name) for name in policies], trace.info.threads
    result = pghot.compare(
        trace, tiers, policies=specs, fast_share=fast_share, warmup=0, seeds=1, threads=threads
    )
    return {row["label"]: row["time_s"] for row in result.summary.to_pylist()}


def stream(**keys: Any) -> Trace:
    """Reads of all lines in order by 64 threads, which saturate whatever they read from."""
    more = {"init": "none", "threads": 64, "accesses_per_slice": 2_000_000, "slices": 20}
    return workload(kind="sequential", **{**more, **keys})


def test_a_chase_through_idle_memory_takes_the_ratio_of_the_latencies() -> None:
    chase = workload(kind="pointer-chase", threads=1, init="none", accesses_per_slice=2000)
    time = run_times(chase, two_nodes(200, 50), "all-fast", "all-slow")
    assert time["all-slow"] / time["all-fast"] == pytest.approx(250 / 100, rel=1e-3)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8, 0.95])
def test_a_stream_over_two_nodes_runs_at_the_least_of_bandwidth_over_weight(share: float) -> None:
    """200 and 50 GB/s, by the share of the pages that lie on the first; with four fifths both are full."""
    time = run_times(stream(), two_nodes(200, 50), "none", "all-fast", fast_share=share)
    slowest = min(200 / share, 50 / (1 - share))
    assert time["all-fast"] / time["none"] == pytest.approx(slowest / 200, rel=0.03)


def test_a_full_duplex_link_takes_most_writes_for_nothing() -> None:
    """Half of the lines go back: 2:1 traffic gets 25.1 GB/s where reads get 17.8 (FACTS 12), so 1.5 x 17.8 / 25.1."""
    tiers = two_nodes(200, 26, "cxl")
    reads = run_times(stream(), tiers, "all-slow")["all-slow"]
    writes = run_times(stream(write_share="50%"), tiers, "all-slow")["all-slow"]
    assert writes / reads == pytest.approx(1.5 * 17.8 / 25.1, rel=0.02)


def test_two_tenants_on_a_full_node_get_what_one_would() -> None:
    """The second takes half of the bandwidth, and neither makes it more or less."""
    part = {"kind": "uniform", "footprint": "16 MiB", "mlp": 10}
    tenants = [{"name": name, "weight": 1, "pattern": part} for name in ("one", "other")]
    keys = {"init": "none", "threads": 64, "slices": 30}
    both = workload_from_table({"kind": "mixture", "tenant": tenants, **keys}, "made", 0)
    alone = workload_from_table({**part, "footprint": "32 MiB", **keys}, "made", 0)
    tiers = two_nodes(20, 20)
    assert run_times(both, tiers, "all-fast") == pytest.approx(run_times(alone, tiers, "all-fast"), rel=0.01)


def test_a_chase_beside_a_scan_takes_the_time_of_both() -> None:
    """On idle memory, by one thread: an access in ten waits alone, and of the others 60 at a time."""
    keys = {"init": "none", "threads": 1, "slices": 20, "accesses_per_slice": 10_000}
    parts = {"chase": (1, "pointer-chase"), "scan": (9, "sequential")}
    tenants = [
        {"name": name, "weight": weight, "pattern": {"kind": kind, "footprint": "16 MiB"}}
        for name, (weight, kind) in parts.items()
    ]
    mixed = workload_from_table({"kind": "mixture", "tenant": tenants, **keys}, "made", 0)
    tiers = two_nodes(2000, 50)
    both = run_times(mixed, tiers, "all-fast")["all-fast"]
    alone = run_times(workload(kind="pointer-chase", **keys), tiers, "all-fast")["all-fast"]
    assert both / alone == pytest.approx(0.1 + 0.9 / 60, rel=0.01)


def test_interleaving_by_bandwidth_sums_up_the_bandwidths() -> None:
    """A stream over 200 + 50 GB/s: at best 250 GB/s, four fifths of it from the first; from one node 200."""
    time = run_times(stream(), two_nodes(200, 50), "interleave", "all-fast")
    assert time["all-fast"] / time["interleave"] == pytest.approx(250 / 200, rel=0.02)


def test_each_of_four_processes_is_scanned_by_itself() -> None:
    """Of 100 GiB, 256 MiB are marked in 100 ms; of four times 25 GiB four times as much."""
    whole = replicated(np.full(1024, 1 / 1024), 1, slices=200, misses=1024)
    marked = {}
    for processes in (1, 4):
        pages = 1024 // processes
        regions = tuple(Region(n * pages, pages, n, 1 << 32, "[heap]") for n in range(processes))
        result = pghot.compare(
            replace(whole, regions=regions), policies=[MOVERS[0]], fast_share=0.05, times=25_600.0,
            threads=16, duration_s=10.0, seeds=1, placement="slow",
        )  # fmt: skip
        counters = {row["label"]: dict(row["counters"]) for row in result.runs.to_pylist()}
        marked[processes] = counters["numab2/hintfaults"]["numa_pte_updates"]
    assert marked[4] / marked[1] == pytest.approx(4, rel=0.1)
