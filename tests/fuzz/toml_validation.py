"""Validation files. What is accepted is run, on a workload so small that this is soon done, and has finite cells."""

from __future__ import annotations

import math
import random
import tempfile
import tomllib
from pathlib import Path

from builders.toml_kind import damaged_file, refusals_name
from fuzz.harness import Silent
from pghot.documents import shipped_names, shipped_text
from pghot.errors import shortened
from pghot.lab.validate import load_validation, run_validation

NAME = "toml_validation"
QUICK = 40

SMALL = """\
name = "small"
title = "A small one"
published_in = "nowhere"
bar = 0.3
mean_bar = 0.2
order_matters = true
tiers = "dram-cxl"
[value]
run = { policy = "numab2" }
base = { policy = "none" }
metric = "steady_time_s"
form = "base / run"
[[rows]]
label = "near"
set = { "tiers.nodes.1.latency_ns" = 200 }
[[columns]]
label = "few"
set = { "workload.hot_share" = 0.1 }
[[columns]]
label = "more"
set = { "setting.fast_share" = "30%" }
run = { policy = "hemem", sources = ["pebs"], options = {}, source_options = { pebs = { period_misses = 11 } } }
[published]
cells = [[1.0, 1.5]]
fitted = [[false, true]]
[setting]
duration_s = 0.2
seeds = 1
fast_share = "20%"
times = 1.0
[workload]
kind = "gups"
footprint = "1 MiB"
slices = 20
accesses_per_slice = 1000
hot_share = 0.2
"""
_MOST = {"footprint": 1 << 24, "slices": 200, "accesses_per_slice": 10_000, "duration_s": 1.0, "seeds": 2}

with tempfile.TemporaryDirectory() as place:  # loads what it needs
    (Path(place) / "a.toml").write_text(SMALL)
    run_validation(Path(place) / "a.toml")


def make(rng: random.Random, folder: Path) -> Path:
    """A damaged file: a small one to be run, or a shipped one to be read."""
    shipped = [shipped_text("validations", name) for name in shipped_names("validations")]
    return damaged_file(rng, folder, [SMALL, SMALL, SMALL, rng.choice(shipped)])


def check(made: Path) -> str:
    """Read it; run it where that is soon done."""
    with refusals_name(str(made)):
        validation = load_validation(made)
    if not _small(made):
        return "accepted"
    with refusals_name(shortened(validation.name)):
        result = run_validation(made)
    for cell in result.cells:
        if not math.isfinite(cell.simulated):
            raise Silent(f"the cell {cell.row}/{cell.column} is {cell.simulated}")
    return "accepted"


def _small(path: Path) -> bool:
    document = tomllib.loads(path.read_text("utf-8"))
    if document.get("title") != "A small one":
        return False
    tables = [document.get("workload", {}), document.get("setting", {})]
    sets = [axis.get("set", {}) for axis in (*document.get("rows", []), *document.get("columns", []))]
    for table in (*tables, *sets):
        for key, value in table.items():
            name = key.rpartition(".")[2]
            if name in _MOST and isinstance(value, (int, float)) and value > _MOST[name]:
                return False
            if name == "footprint" and value != "1 MiB":
                return False
    return True
