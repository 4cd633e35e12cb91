"""What a replay costs for a row of a slice and a run, against a bare loop over the same rows.

python benchmarks/bench_rows.py

A row is a page that a node accessed in a slice, as the schedule cut or joined it. The runs are a baseline and one of
each kind of mover, with the setting that `pghot compare` has by default. They go side by side over the same slices, as
there. The bare loop adds up the misses that each node serves, slice by slice: what any simulation must do at least.
CPU seconds of alternating runs, the ratio of their medians. Opening the recording, the truth and the probe are left
out: they are done once for all runs.
"""

from __future__ import annotations

import json
import time
from statistics import median
from typing import Any

import numpy as np
from numba import njit

from pghot.arrays import F64, U8, U32
from pghot.lab.bench import Bench
from pghot.lab.recorded_cache import seen_by_the_real_cache
from pghot.lab.run_spec import RunSpec
from pghot.lab.setting import Setting
from pghot.lab.traces import load_trace
from pghot.sim.machine.topology import load_topology

RECORDINGS = ("duckdb-mix", "bfs-kron")
SPECS = [
    RunSpec("none"),
    RunSpec("all-fast"),
    RunSpec("demotion"),
    RunSpec("pghot-default", ("hintfaults",)),
    RunSpec("pghot-default", ("abit",)),
    RunSpec("pghot-default", ("pebs",)),
    RunSpec("numab2", ("hintfaults",)),
    RunSpec("hemem", ("pebs",)),
]
REPEATS = 3
BAR = 25.0


@njit(cache=True)
def serve_bare(page: U32, misses: U32, place: U8, served: F64) -> None:
    """The yardstick."""
    for row in range(len(page)):
        served[place[page[row]]] += misses[row]


def bare_pass(bench: Bench) -> int:
    """One run of the bare loop; returns the rows that were played."""
    place, served, rows = np.zeros(bench.trace.pages, np.uint8), np.zeros(2), 0
    place[::2] = 1
    for step in bench.schedule.steps():
        batch = step.batch
        for index in range(batch.slices):
            part = slice(batch.offsets[index], batch.offsets[index + 1])
            serve_bare(batch.page[part], batch.misses[part], place, served)
        rows += batch.rows
    return rows


def measured(name: str) -> dict[str, float]:
    """CPU ns for a row: of the bare loop, and of a run; and their ratio."""
    tiers, setting = load_topology("dram-cxl"), Setting()
    trace = seen_by_the_real_cache(
        load_trace(f"bundled:{name}"), tiers.llc_bytes, setting.stands_for, setting.times
    )
    bench = Bench(trace, tiers, setting, seed=0)
    rows = bare_pass(bench)
    bench.play(
        SPECS[:1], lambda part: None
    )  # the others compile in the first round, which the median leaves out
    bare_s, run_s = [], []
    for _ in range(REPEATS):
        start = time.process_time()
        bare_pass(bench)
        bare_s.append(time.process_time() - start)
        start = time.process_time()
        bench.play(SPECS, lambda part: None)
        run_s.append((time.process_time() - start) / len(SPECS))
    bare_ns, run_ns = (1e9 * median(seconds) / rows for seconds in (bare_s, run_s))
    return {"bare_ns": bare_ns, "run_ns": run_ns, "ratio": run_ns / bare_ns}


def run() -> dict[str, dict[str, Any]]:
    found = {name: measured(name) for name in RECORDINGS}
    worst = max(found, key=lambda name: found[name]["ratio"])
    each = {name: {key: round(value, 2) for key, value in figures.items()} for name, figures in found.items()}
    return {
        "replay_row_against_bare_loop": {
            "value": found[worst]["ratio"],
            "bar": BAR,
            "ok": found[worst]["ratio"] <= BAR,
            "unit": f"times the CPU time of a bare loop for a row and run ({worst}, {found[worst]['run_ns']:.3g} ns)",
            "each": each,
        }
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
