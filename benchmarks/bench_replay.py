"""How fast is a whole comparison run, from the file on disk?

python benchmarks/bench_replay.py

A replay is everything `pghot compare` does for one run: open the file, decode it, measure the truth, serve
every slice from the simulated machine, let hint faults and pghot act, and make the metrics.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from peers import libcachesim_lru, zipf_pages
from pghot.lab.bench import Bench
from pghot.lab.compare import compare
from pghot.lab.run_spec import RunSpec
from pghot.lab.setting import Setting
from pghot.lab.traces import load_trace
from pghot.recording.bundled import names
from pghot.recording.trace import MemoryTrace, Region, SliceBatch, TraceInfo
from pghot.recording.writer import write_recording
from pghot.sim.machine.topology import load_topology

PAGES = 1 << 20
REQUESTS = 40_000_000
# A slice is 1 ms of a program that touches memory 10^9 times a second.
ACCESSES_PER_SLICE = 1_000_000
REPEATS = 5


def replay_seconds(path: Path) -> float:
    """CPU seconds of one run from the file on: truth, hint faults, pghot's default store, cost model, metrics."""
    start = time.process_time()
    bench = Bench(load_trace(path), load_topology("dram-cxl"), Setting(fast_share=0.2), seed=0)
    bench.play([RunSpec("pghot-default", ("hintfaults",))], lambda part: None)
    return time.process_time() - start


def compare_seconds(path: Path) -> float:
    """CPU seconds of `compare`, which also replays its two baselines."""
    start = time.process_time()
    compare(path, policies=["pghot-default"], sources=["hintfaults"], fast_share=0.2)
    return time.process_time() - start


def trace_of(stream: npt.NDArray[np.uint32]) -> MemoryTrace:
    """A trace of these accesses to pages, all of which miss the last-level cache."""
    parts = []
    for number, begin in enumerate(range(0, len(stream), ACCESSES_PER_SLICE)):
        page, count = np.unique(stream[begin : begin + ACCESSES_PER_SLICE], return_counts=True)
        touches, none = count.astype(np.uint32), np.zeros(len(page), np.uint32)
        parts.append(
            SliceBatch(
                start_ns=np.array([number * 1_000_000], np.uint64),
                instructions=np.array([count.sum()], np.uint64),
                offsets=np.array([0, len(page)]),
                page=page,
                touches=touches,
                misses=touches,
                sequential=none,
                writes=none,
                node=np.zeros(len(page), np.int16),
            )
        )
    info = TraceInfo("zipf", "import", 1_000_000, ns_per_instruction=1.0)
    return MemoryTrace(info, PAGES, (Region(0, PAGES, 0, 0, "zipf"),), parts)


def against_libcachesim() -> dict[str, Any]:
    stream = zipf_pages(REQUESTS, PAGES)
    with TemporaryDirectory() as directory:
        path = Path(directory) / "zipf.pghot"
        write_recording(path, trace_of(stream))
        compare_seconds(path)  # compiles
        ratios, ours, whole = [], [], []
        for _ in range(REPEATS):
            _, theirs = libcachesim_lru(stream, PAGES // 5)
            ours.append(replay_seconds(path))
            ratios.append(theirs / ours[-1])
            whole.append(3 * theirs / compare_seconds(path))
    value = statistics.median(ratios)
    rate = REQUESTS / statistics.median(ours)
    return {
        "value": value,
        "bar": 10.0,
        "ok": value >= 10.0,
        "unit": f"times libCacheSim's LRU in requests per CPU second, zipf(1.2), 2^20 pages ({rate:.3g}/s)",
        "spread": [min(ratios), max(ratios)],
        "compare_with_both_baselines": statistics.median(whole),
    }


def bundled_rates() -> dict[str, float]:
    """Recorded accesses replayed in a CPU second, over all policies with all their sources, by recording."""
    rates = {}
    for name in names():
        arguments: dict[str, Any] = {"policies": ["all"], "sources": ["all"], "fast_share": 0.2}
        compare(f"bundled:{name}", **arguments)  # compiles, and warms the file cache
        start = time.process_time()
        comparison = compare(f"bundled:{name}", **arguments)
        seconds = time.process_time() - start
        rates[name] = comparison.setup.touches * comparison.runs.num_rows / seconds
    return rates


def run() -> dict[str, dict[str, Any]]:
    rates = bundled_rates()
    mean = statistics.mean(rates.values()) / 1e9
    return {
        "replay_against_libcachesim_lru": against_libcachesim(),
        "replay_bundled_all_policies": {
            "value": mean,
            "bar": 1.0,
            "ok": mean >= 1.0,
            "unit": "10^9 recorded accesses per CPU second, mean over the bundled recordings",
            "spread": [min(rates.values()) / 1e9, max(rates.values()) / 1e9],
        },
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
