"""Misses in flight, region by region, and what they do to run time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pghot.lab.parallelism import misses_in_flight
from pghot.lab.workloads.workload_files import workload_from_table
from pghot.recording.trace import MemoryTrace, Region, SliceBatch, TraceInfo
from pghot.sim.machine.costs import Costs


def trace(patterns: tuple[str, ...] = ("sequential", "strided", "dependent")) -> MemoryTrace:
    """Four pages in two regions; page 3 is touched twice."""
    u32 = lambda *values: np.array(values, np.uint32)  # noqa: E731
    batch = SliceBatch(
        np.zeros(2, np.uint64),
        np.ones(2, np.uint64),
        np.array([0, 4, 5]),
        u32(0, 1, 2, 3, 3),
        u32(9, 9, 9, 9, 9),
        u32(8, 4, 6, 4, 4),
        u32(2, 0, 2, 0, 0),
        u32(0, 0, 0, 0, 0),
        np.zeros(5, np.int16),
        strided=u32(0, 0, 4, 0, 0),
        dependent=u32(6, 2, 0, 0, 4),
    )
    regions = (Region(0, 2, 0, 0, "list"), Region(2, 2, 0, 1 << 20, "matrix"))
    return MemoryTrace(TraceInfo("t", "import", 1000, mlp=4.0, patterns=patterns), 4, regions, [batch])


def test_dependent_misses_wait_alone_and_strided_ones_overlap() -> None:
    """The list: 10 misses not sequential, 8 dependent: 8 + 2 / 4 latencies. The matrix: 12, of which 4 are strided and
    4 dependent: 4 / 10 + 4 + 4 / 4."""
    found = misses_in_flight(trace(), Costs())
    assert found.tolist() == pytest.approx([10 / 8.5, 10 / 8.5, 12 / 5.4, 12 / 5.4])


def test_without_patterns_the_trace_has_one_figure() -> None:
    assert misses_in_flight(trace(("sequential",)), Costs()).tolist() == [4.0] * 4
    plain = trace(())
    unknown = MemoryTrace(replace(plain.info, mlp=0.0), 4, plain.regions, plain.parts)
    assert misses_in_flight(unknown, Costs(mlp_random=7)).tolist() == [7.0] * 4


def test_a_pointer_chase_beside_another_program_keeps_its_own_parallelism() -> None:
    table = {
        "kind": "mixture",
        "slices": 3,
        "accesses_per_slice": 4000,
        "tenant": [
            {"name": "chase", "pattern": {"kind": "pointer-chase", "footprint": "64 KiB"}},
            {"name": "store", "pattern": {"kind": "uniform", "footprint": "64 KiB", "mlp": 8}},
        ],
    }
    mixed = workload_from_table(table, "mixed", 0)
    assert mixed.info.mlp == 8
    assert misses_in_flight(mixed, Costs()).tolist() == [1.0] * 16 + [8.0] * 16
