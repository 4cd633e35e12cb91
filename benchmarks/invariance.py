"""Writes docs/invariance.md: the answers of the lab do not depend on K, nor on how time is cut into slices.

    python benchmarks/invariance.py                     all parts, then the page
    python benchmarks/invariance.py --only slices       this part, then the page
    python benchmarks/invariance.py --renew pebs        of what is there, the runs with this text anew
    python benchmarks/invariance.py --page-only         the page from what is there

A real system is held, and what stands for it changes. Each comparison is kept as a JSON file in the work directory, so
a run that was stopped goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pghot
from invariance_page import render
from pghot.lab.compare import RunSpec
from pghot.recording.trace import MemoryTrace, Trace

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from builders.replicated import replicated, zipf_heat  # noqa: E402
from builders.thinned import thinned  # noqa: E402

PAGES = 4096  # of the coarsest load: with K = 64 a system of 1 GiB
LARGEST = 64
RUNS: tuple[str | RunSpec, ...] = (
    "demotion",
    "interleave",
    "lru-bw",
    "oracle-static",
    "oracle-epoch",
    RunSpec("numab2", ("hintfaults",)),
    RunSpec("hemem", ("pebs",), where="to come"),
    RunSpec("hemem-colloid", ("pebs",)),
    RunSpec("pghot-default-f1", ("hintfaults",), where="to come"),
    RunSpec("pghot-default", ("hintfaults",), where="user space"),
    RunSpec("pghot-precise", ("abit",), where="to come"),
    RunSpec("pghot-precise", ("ibs",), where="to come"),
    RunSpec("pghot-precise", ("pebs",), where="user space"),
    RunSpec("pghot-hashed", ("pebs",), where="to come"),
    RunSpec("pghot-hashed-f1", ("ibs",), where="to come"),
    RunSpec("pghot-default", ("chmu",), where="to come"),
    RunSpec("pghot-hashed", ("truth",)),
)
SYSTEM: dict[str, Any] = {
    "threads": 16,
    "duration_s": 60.0,
    "placement": "slow",
    "fast_share": 0.2,
    "seeds": 1,
}
# What PEBS samples is a matter of chance: of one seed HeMem, which moves some nine units of 2 MiB, has speed-ups
# 1 % and bytes 15 % apart, pghot in user space bytes 5 %.
SAMPLED = "pebs"
MANY_SEEDS = 12
FEW_SEEDS = 3  # at K = 1, where a seed takes minutes
RECORDINGS = ("redis-zipf",)


@dataclass(frozen=True, slots=True)
class Cell:
    """One comparison: a way in which the system of a part is stood for; the first cell of a part is its yardstick."""

    part: str
    label: str
    trace: Callable[[], Trace]
    settings: Mapping[str, Any]
    tiers: str = "dram-cxl"

    @property
    def name(self) -> str:
        return f"{self.part}.{self.label}".replace(" ", "-").replace("/", "-")


def load(copies: int = 1, slices: int = 200) -> MemoryTrace:
    """Heat that falls as 1/rank, the same in every slice."""
    return replicated(zipf_heat(PAGES), copies, slices=slices, misses=6000 * PAGES // slices)


def all_cells() -> Iterator[Cell]:
    for slice_ms in (50, 25, 100):
        yield Cell(
            "slices of a replay", f"{slice_ms} ms", load, {"times": LARGEST, "slice_ms": float(slice_ms)}
        )
    for slices, label in ((200, "as recorded"), (25, "8 x coarser"), (3200, "16 x finer")):
        yield Cell("slices of a recording", label, lambda s=slices: load(1, s), {"times": LARGEST})
    for copies in (1, 4, 16, 64):
        yield _at_k("K", copies, "dram-cxl", "slow")
    for copies in (1, 4, 16):
        yield _at_k("K, a tier that compresses", copies, "dram-cxl-compressed", "first-touch")
    for recording in RECORDINGS:
        for one_in, label in ((1, "whole, K = 64"), (2, "half, K = 128"), (4, "quarter, K = 256")):
            settings = {"times": 64.0 * one_in, "seeds": 3}
            yield Cell(recording, label, lambda r=recording, n=one_in: _recorded(r, n), settings)


def _at_k(part: str, copies: int, tiers: str, placement: str) -> Cell:
    settings = {"times": LARGEST / copies, "placement": placement}
    return Cell(part, f"K = {LARGEST // copies}", lambda: load(copies), settings, tiers)


def _recorded(name: str, one_in: int) -> MemoryTrace:
    from pghot.recording.bundled import open_bundled

    return thinned(open_bundled(name), one_in)


def label(run: str | RunSpec) -> str:
    return run if isinstance(run, str) else run.label


def compute(cell: Cell, work: Path, renew: str = "") -> None:
    """Compare the runs of a cell that have this text, and keep them; other rows that are there stay."""
    started, used = time.monotonic(), time.process_time()
    settings = {**SYSTEM, **cell.settings}
    path = work / f"{cell.name}.json"
    before = json.loads(path.read_text()) if path.exists() else {"rows": {}, "date": ""}
    rows, footprint = dict(before["rows"]), 0
    for sampled in (False, True):
        runs = [run for run in RUNS if renew in label(run) and (SAMPLED in label(run)) == sampled]
        if not runs:
            continue
        many = FEW_SEEDS if settings["times"] <= 1 else MANY_SEEDS
        seeds = max(many, settings["seeds"]) if sampled else settings["seeds"]
        result = pghot.compare(cell.trace(), cell.tiers, runs, **{**settings, "seeds": seeds})
        footprint = result.setup.similarity.footprint_bytes
        rows |= {
            row.label: {"speedups": row.speedups, "moved_mb": row.figures.moved_mb}
            for row in result.rows
            if row.speedups and (not renew or renew in row.label)
        }
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    kept = {
        "part": cell.part,
        "label": cell.label,
        "tiers": cell.tiers,
        "settings": settings,
        "date": today
        if not renew
        else before["date"]
        if today in before["date"]
        else f"{before['date']}, {renew} {today}",
        "footprint_bytes": footprint,
        "rows": rows,
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(kept))
    part.rename(path)
    took = f"{time.monotonic() - started:.0f} s, {time.process_time() - used:.0f} s of CPU"
    print(f"{cell.part}: {cell.label}: {took}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build" / "invariance", help="where the comparisons are kept"
    )
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="only comparisons whose part has this text"
    )
    parser.add_argument("--renew", default="", metavar="TEXT", help="only runs that have this text, again")
    parser.add_argument("--page-only", action="store_true", help="compute nothing")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    for cell in all_cells():
        if (
            not given.page_only
            and given.only in cell.part
            and (given.renew or not (given.work / f"{cell.name}.json").exists())
        ):
            compute(cell, given.work, given.renew)
    there = [given.work / f"{cell.name}.json" for cell in all_cells()]
    kept = [json.loads(path.read_text()) for path in there if path.exists()]
    (ROOT / "docs" / "invariance.md").write_text(render(kept))
    return 0


if __name__ == "__main__":
    sys.exit(main())
