"""How much of two processors does a sweep use, against two bare processes that split the same cells between them?

python benchmarks/bench_sweep.py

Each round runs the study once as `pghot sweep --workers 2` from the start to the end, its cluster included, and once as
two independent processes that compute every other cell in a bare loop: no scheduler, no folder. Both take more than a
minute. Rounds alternate which goes first, as other programs share the machine. The value is the median over the rounds
of bare wall time over the sweep's: what part of the gain of two processes the sweep keeps.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROUNDS = 3
BAR = 0.9
STUDY = """
recordings = ["bundled:redis-zipf", "bundled:xz-decompress"]
shares = ["5%", "20%", "50%"]
policies = ["demotion", "numab2", "pghot-default"]
seeds = 20
[setting]
duration = "60s"
"""
SWEEP = "from pghot.cli.main import main; main()"
BARE = """
import sys
from pathlib import Path
from pghot.lab.sweep.study import cells_of, read_study
for cell in cells_of(read_study(Path(sys.argv[1])))[int(sys.argv[2])::2]:
    cell.compute()
"""


def sweep_seconds(study: Path, folder: Path) -> float:
    """Wall seconds of the command with two workers."""
    command = [sys.executable, "-c", SWEEP, "sweep", str(study), "-o", str(folder), "--workers", "2"]
    start = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - start


def bare_seconds(study: Path) -> float:
    """Wall seconds until both processes have ended."""
    start = time.monotonic()
    halves = [subprocess.Popen([sys.executable, "-c", BARE, str(study), str(half)]) for half in range(2)]
    codes = [half.wait() for half in halves]
    if any(codes):
        raise RuntimeError("a bare replay failed")
    return time.monotonic() - start


def run() -> dict[str, dict[str, Any]]:
    sweeps, bares = [], []
    with TemporaryDirectory() as directory:
        study = Path(directory) / "study.toml"
        study.write_text(STUDY)
        bare_seconds(study)  # compiles
        for number in range(ROUNDS):
            folder = Path(directory) / f"cells-{number}"
            if number % 2:
                bares.append(bare_seconds(study))
            sweeps.append(sweep_seconds(study, folder))
            if number % 2 == 0:
                bares.append(bare_seconds(study))
    ratios = [bare / sweep for bare, sweep in zip(bares, sweeps, strict=True)]
    value = statistics.median(ratios)
    return {
        "sweep_against_two_bare_processes": {
            "value": value,
            "bar": BAR,
            "ok": value >= BAR,
            "unit": f"of the gain of two processes, {statistics.median(sweeps):.0f} s with two workers",
            "spread": [min(ratios), max(ratios)],
            "seconds": {"sweep": sweeps, "bare": bares},
        }
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
