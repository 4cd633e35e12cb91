"""What must hold of whole runs, whatever the policies do: nothing is gained where nothing is to be gained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import pghot
from pghot.lab.bench import RunSpec
from pghot.lab.workloads.workload_files import workload_from_table
from pghot.recording.trace import MemoryTrace, SliceBatch, Trace
from pghot.sim.machine.topology import Topology

MOVERS = (
    RunSpec("numab2", ("hintfaults",)),
    RunSpec("hemem", ("pebs",)),
    RunSpec("pghot-default", ("abit",)),
)


def workload(**keys: Any) -> Trace:
    table = {"footprint": "32 MiB", "slices": 300, "accesses_per_slice": 40_000, "threads": 8, **keys}
    return workload_from_table(table, "made", 0)


def renumbered(trace: Trace) -> MemoryTrace:
    """The same accesses, each page under another number."""
    order = np.random.default_rng(1).permutation(trace.pages).astype(np.uint32)
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
    trace = workload(kind="gups", init="random", hot_share="20%")
    plain, other = speedups(trace), speedups(renumbered(trace))
    for label, gain in plain.items():
        assert other[label] == pytest.approx(gain, rel=0.03), label


def test_interleaving_by_bandwidth_sums_up_the_bandwidths() -> None:
    """A stream over 200 + 50 GB/s: at best 250 GB/s, four fifths of it from the first; from one node 200."""
    nodes = [
        {"name": "a", "cpus": 64, "capacity": "1 GiB", "latency_ns": 100, "bandwidth_gb_s": 200},
        {"name": "b", "capacity": "1 GiB", "latency_ns": 150, "bandwidth_gb_s": 50, "curve": "ddr5"},
    ]
    tiers = Topology.model_validate({"nodes": nodes, "costs": {"instruction_ns": 0, "mlp_sequential": 60}})
    trace = workload(kind="sequential", init="none", threads=64, accesses_per_slice=2_000_000, slices=20)
    result = pghot.compare(
        trace,
        tiers,
        policies=[RunSpec("interleave"), RunSpec("all-fast")],
        fast_share=None,
        warmup=0,
        seeds=1,
    )
    rows = {row["label"]: row["time_s"] for row in result.summary.to_pylist()}
    assert rows["all-fast"] / rows["interleave"] == pytest.approx(250 / 200, rel=0.02)
