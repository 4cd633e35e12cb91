"""Writes docs/evidence.md: does moving pages pay, for each recording or workload, tiers, fast share and footprint?

    python benchmarks/evidence.py                       every cell that is missing, then the pages
    python benchmarks/evidence.py --only redis-zipf     only cells whose name has this text, then the pages
    python benchmarks/evidence.py --page-only           the pages from what is there

docs/outcomes.md shows a part of the cells one by one.

Each cell is one comparison. Its verdict is kept as a JSON file in the work directory, so a run that was stopped goes
on where it stopped. At the end all cells are packed into the archive, which counts where the work directory lacks them;
see cell_archive.py. With --anew cells of another version of the code are computed again, after those that are missing.
Cells of other settings (--duration, --seeds) are kept beside them. Two cells run at a time.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import evidence_page
import outcomes_page
import pghot
from cell_archive import read_archive, write_archive
from kept_cells import named_trace
from pghot.lab.code_version import code_version
from pghot.lab.compare import RunSpec
from pghot.recording.bundled import names

ROOT = Path(__file__).parents[1]
ARCHIVE = ROOT / "benchmarks" / "results" / "evidence.jsonl.xz"
TIERS = ("dram-cxl", "dram-cxl-switched", "two-socket-cxl", "hbm-dram-cxl")
SHARES = (0.05, 0.2, 0.5, 0.8)
SHARES_IN_TURN = (0.2, 0.05, 0.5, 0.8)
FOOTPRINTS_GIB = (32, 100, 8)
# Beside the recordings: in these the hot set is even, drifts, or is one tenant's of several.
WORKLOADS = ("workload:zipf", "workload:gups", "workload:phases", "workload:mixture")
# What docs/outcomes.md shows, of the recordings.
ONE_BY_ONE = (TIERS[:2], SHARES[:3], FOOTPRINTS_GIB[:2])
# One of pghot's stores in each class: the three differ little. The device's unit stands for the hardware to come.
POLICIES = (
    "demotion",
    "interleave",
    "oracle-static",
    "oracle-epoch",
    "numab2",
    "pghot-default",
    "hemem",
    "lru-bw",
)
TO_COME = RunSpec("pghot-default", ("chmu",))


@dataclass(frozen=True, slots=True)
class Cell:
    recording: str
    tiers: str
    fast_share: float
    footprint_gib: int

    @property
    def name(self) -> str:
        return f"{self.recording}.{self.tiers}.{100 * self.fast_share:g}%.{self.footprint_gib}GiB"


def all_cells() -> Iterator[Cell]:
    """The matrix, in the order of the pages."""
    for recording in (*names(), *WORKLOADS):
        for tiers in TIERS:
            for share in SHARES:
                for footprint in FOOTPRINTS_GIB:
                    yield Cell(recording, tiers, share, footprint)


def turn(cell: Cell) -> tuple[bool, int, int, int]:
    """When a cell is computed: whole columns one after the other, so that a run that is stopped leaves some whole."""
    place = FOOTPRINTS_GIB.index(cell.footprint_gib), SHARES_IN_TURN.index(cell.fast_share)
    return not one_by_one(cell), *place, TIERS.index(cell.tiers)


def one_by_one(cell: Cell) -> bool:
    """Whether docs/outcomes.md shows it."""
    tiers, shares, footprints = ONE_BY_ONE
    recorded = cell.recording not in WORKLOADS
    return recorded and cell.tiers in tiers and cell.fast_share in shares and cell.footprint_gib in footprints


def compute(cell: Cell, settings: dict[str, Any], work: Path) -> str:
    """Compare, and keep what the page needs. Returns the headline."""
    started, used = time.monotonic(), time.process_time()
    result = pghot.compare(
        named_trace(cell.recording),
        cell.tiers,
        [*POLICIES, TO_COME],
        fast_share=cell.fast_share,
        stands_for=cell.footprint_gib << 30,
        **settings,
    ).to_dict()
    seconds, cpu_s = round(time.monotonic() - started, 1), round(time.process_time() - used, 1)
    kept = {"cell": asdict(cell), "settings": settings, "source": code_version(), "cpu_s": cpu_s}
    kept |= {key: result[key] for key in ("setup", "summary", "verdict")}
    path = work / f"{cell.name}.{settings['duration_s']:g}s.{settings['seeds']}.json"
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(kept))
    part.rename(path)
    return f"{result['verdict']['headline']} ({seconds:.0f} s, {cpu_s:.0f} s of CPU)"


def read_cells(work: Path, archive: Path, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The cells with these settings that are there, by name. What was computed here is newer than the archive."""
    found = [*read_archive(archive), *(json.loads(path.read_text()) for path in work.glob("*.json"))]
    return {Cell(**kept["cell"]).name: kept for kept in found if kept["settings"] == settings}


def end_with_parent() -> None:
    """A worker ends when whoever started it is killed; it would compute its cell to the end."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def run(cells: list[Cell], settings: dict[str, Any], work: Path, jobs: int) -> None:
    started = time.monotonic()
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=end_with_parent) as pool:
        waiting = {pool.submit(compute, cell, settings, work): cell for cell in cells}
        for done, future in enumerate(as_completed(waiting), 1):
            left = (time.monotonic() - started) / done * (len(cells) - done) / 60
            said = f"[{done}/{len(cells)}, {left:.0f} min left] {waiting[future].name}: {future.result()}"
            print(said, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build" / "evidence", help="where the cells are kept"
    )
    parser.add_argument("--only", default="", help="compute only cells whose name has this text")
    parser.add_argument(
        "--duration", type=float, default=120.0, help="seconds of the real system in each cell"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, choices=(1, 2), default=2, help="cells at a time")
    parser.add_argument(
        "--anew",
        action="store_true",
        help="compute also cells that another version of the code left, at last",
    )
    parser.add_argument("--page-only", action="store_true")
    parser.add_argument("--archive", type=Path, default=ARCHIVE, help="where all cells are packed")
    parser.add_argument(
        "-o", "--output", type=Path, default=ROOT / "docs", help="the folder that the pages are written to"
    )
    given = parser.parse_args()
    settings = {"duration_s": given.duration, "seeds": given.seeds}
    for folder in (given.work, given.output):
        folder.mkdir(parents=True, exist_ok=True)
    cells = list(all_cells())
    if not given.page_only:
        there = read_cells(given.work, given.archive, settings)
        asked = [cell for cell in sorted(cells, key=turn) if given.only in cell.name]
        missing = [cell for cell in asked if cell.name not in there]
        if given.anew:
            now = code_version()
            missing += [cell for cell in asked if cell.name in there and there[cell.name]["source"] != now]
        print(f"{len(there)} of {len(cells)} cells are there, {len(missing)} to compute", file=sys.stderr)
        run(missing, settings, given.work, given.jobs)
    there = read_cells(given.work, given.archive, settings)
    kept = [there[cell.name] for cell in cells if cell.name in there]
    others = [cell for cell in read_archive(given.archive) if cell["settings"] != settings]
    write_archive(given.archive, [*others, *kept])
    shown = list(filter(one_by_one, cells))
    pages = {
        "evidence.md": evidence_page.render(kept, len(cells)),
        "outcomes.md": outcomes_page.render(
            [there[cell.name] for cell in shown if cell.name in there],
            [(cell.tiers, cell.fast_share) for cell in shown],
        ),
    }
    for name, text in pages.items():
        (given.output / name).write_text(text)
    print(f"wrote {' and '.join(pages)} from {len(there)} of {len(cells)} cells", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
