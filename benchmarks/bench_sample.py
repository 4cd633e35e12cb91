"""A sample of 1 % of the pages against the whole: time, memory, and how far apart the results are.

python benchmarks/bench_sample.py

A workload is written as a recording, and compared whole and as a sample, each in a process of its own. Pages miss in
proportion to 1 / rank, so that the hottest 1 % take two thirds of the misses. CPU seconds of `compare` over 300 s of
kernel time, reading included, and the most memory that the process had. It takes a quarter of an hour.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pghot.lab.workloads.workload_files import make_workload
from pghot.recording.writer import write_recording

SLICES, ACCESSES = 120, 2_000_000
BAR_TIMES, BAR_OFF, BAR_GIB = 30.0, 0.03, 2.0
WORKLOAD = "workload:zipf"
CHANGES: dict[str, Any] = {"footprint": "4 GiB", "slices": SLICES, "accesses_per_slice": ACCESSES}
CHILD = """
import json, resource, sys, time
from pghot.lab.compare import compare
path, sample, small = sys.argv[1], float(sys.argv[2]) or None, sys.argv[3]
runs = {"policies": ["demotion", "lru-bw", "numab2", "pghot"], "seeds": 2, "times": 64.0}
compare(small, **runs, duration_s=None, sample=sample and 0.1)  # compiles
start = time.process_time()
found = compare(path, **runs, sample=sample)
print(json.dumps({
    "cpu_s": time.process_time() - start,
    "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    "slowdown": {row.label: row.figures.slowdown for row in found.rows},
    "ci95": {row.label: row.ci95["slowdown"] for row in found.rows},
    "runs": len(found.rows),
    "passes": found.setup.timing.passes,
}))
"""


def compared(path: Path, small: Path, sample: float) -> dict[str, Any]:
    words = [sys.executable, "-c", CHILD, str(path), str(sample), str(small)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run() -> dict[str, dict[str, Any]]:
    with TemporaryDirectory() as folder:
        path, small = Path(folder) / "large.pghot", Path(folder) / "small.pghot"
        write_recording(path, make_workload(WORKLOAD, **CHANGES))
        write_recording(small, make_workload(WORKLOAD, footprint="32 MiB", slices=50))
        whole, part = (compared(path, small, share) for share in (0.0, 0.01))
    times = whole["cpu_s"] / part["cpu_s"]
    off = {
        label: abs(part["slowdown"][label] / slowdown - 1) for label, slowdown in whole["slowdown"].items()
    }
    worst = max(off, key=lambda label: off[label])
    size = f"2^20 pages, {whole['runs']} runs, {whole['passes']:.3g} passes, 2 seeds"
    return {
        "sample_times_faster": {
            "value": times,
            "bar": BAR_TIMES,
            "ok": times >= BAR_TIMES,
            "unit": f"times faster than the whole in CPU time ({size})",
            "beside": {"whole": whole["cpu_s"], "1 %": part["cpu_s"]},
        },
        "sample_off": {
            "value": off[worst],
            "bar": BAR_OFF,
            "ok": off[worst] <= BAR_OFF,
            "unit": f"of the whole's slowdown is what the sample's is off ({worst})",
            "each": {
                label: [whole["slowdown"][label], part["slowdown"][label], part["ci95"][label]]
                for label in off
            },
        },
        "sample_peak_memory": {
            "value": part["peak_gib"],
            "bar": BAR_GIB,
            "ok": part["peak_gib"] <= BAR_GIB,
            "unit": f"GiB at most in the sample's process; {whole['peak_gib']:.2f} GiB in the whole's",
        },
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
