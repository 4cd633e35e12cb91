"""How long does a person wait: `pghot --help`, and what `make run` runs, first with compilation, then without.

Wall time against the bars of the project; the other benchmarks are ratios. For the first run pghot and its tests'
data are taken as they are, but Numba gets an empty cache directory.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PGHOT = str(Path(sys.executable).with_name("pghot"))
HELP_REPEATS = 9


def wall_s(command: list[str], cache: str | None = None) -> float:
    env = os.environ | ({"NUMBA_CACHE_DIR": cache} if cache else {})
    start = time.perf_counter()
    subprocess.run(command, env=env, check=True, capture_output=True)
    return time.perf_counter() - start


def make_run(page: str) -> list[str]:
    """The command of the Makefile's `run`."""
    text = (Path(__file__).parents[1] / "Makefile").read_text()
    recipe = text.split("\nrun:")[1].split("\n\n")[0].split("\n", 1)[1]
    recording = next(
        line.split(":=")[1].strip() for line in text.splitlines() if line.startswith("RECORDING")
    )
    words = recipe.replace("\\\n", " ").replace("$(RECORDING)", recording).split()
    return [PGHOT, *(page if word == "report.html" else word for word in words[1:])]


def run() -> dict[str, dict[str, Any]]:
    helps = [wall_s([PGHOT, "--help"]) for _ in range(HELP_REPEATS)]
    with TemporaryDirectory() as directory:
        command = make_run(f"{directory}/report.html")
        first = wall_s(command, f"{directory}/cache")
        second = wall_s(command, f"{directory}/cache")
    rows = {
        "help_s": (statistics.median(helps), 0.3, "s, wall, median of 9"),
        "make_run_first_s": (first, 90.0, "s, wall, all kernels compiled"),
        "make_run_second_s": (second, 20.0, "s, wall"),
    }
    return {
        name: {"value": value, "bar": bar, "ok": value < bar, "unit": unit}
        for name, (value, bar, unit) in rows.items()
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
