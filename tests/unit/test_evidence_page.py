"""docs/evidence.md: each section worked on four cells, with figures computed by hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def render() -> Any:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return import_module("evidence_page").render
    finally:
        sys.path.remove(str(BENCHMARKS))


def a_row(label: str, kind: str, speedup: float, **more: Any) -> dict[str, Any]:
    """It answers a tenth of what turns hot, takes 3 % of the program's time and has 8 bytes for each page."""
    policy, _, source = label.partition("/")
    figures = {
        "label": label, "policy": policy, "sources": [source] if source else [], "kind": kind, "runs_on": "kernel",
        "speedup": speedup, "speedup_ci95": 0.01, "responded_share": 0.1, "response_p50_ms": None,
        "tracker_bytes_per_page": 8.0, "tracking_app_share": 0.01, "moving_app_share": 0.02, "kernel_share": 0.5,
        "accuracy": 0.25, "coverage": 0.75, "promotions": 10,
    }  # fmt: skip
    return {**figures, **more}


def a_cell(recording: str, share: float, mover: dict[str, Any], outcome: str) -> dict[str, Any]:
    """All fast gains 50 %, demotion 4 %, the fixed oracle 20 %, the one that moves 32 %: 10 % over the fixed one."""
    gain = mover["speedup"] - 1
    found = {"runs_on": "kernel", "outcome": outcome, "gain": gain, "gain_ci95": 0.01, "reason": None}
    none = {
        "outcome": "cannot tell",
        "gain": None,
        "gain_ci95": None,
        "reason": "no mover of this class was run",
    }
    return {
        "cell": {"recording": recording, "tiers": "near", "fast_share": share, "footprint_gib": 32},
        "settings": {"duration_s": 120.0, "seeds": 3},
        "source": "abc",
        "cpu_s": 36.0,
        "summary": [
            a_row("none", "baseline", 1.0),
            a_row("all-fast", "bound", 1.5),
            a_row("demotion", "baseline", 1.04),
            a_row("oracle-static", "oracle", 1.2),
            a_row("oracle-epoch", "oracle", 1.32),
            mover,
        ],
        "verdict": {"classes": [found, {"runs_on": "user space", **none}, {"runs_on": "to come", **none}]},
    }


def a_mover(speedup: float, **more: Any) -> dict[str, Any]:
    return a_row("numab2/hintfaults", "mover", speedup, **more)


CELLS = [
    a_cell("one", 0.05, a_mover(1.08), "pays"),
    a_cell("one", 0.5, a_mover(1.24, responded_share=0.7, response_p50_ms=1500.0), "pays"),
    a_cell("two", 0.05, a_mover(0.9, tracking_app_share=0.04), "hurts"),
    a_cell("two", 0.5, a_mover(0.97, speedup_ci95=0.05), "does not pay"),
]


def test_what_was_computed_stands_on_top(render: Any) -> None:
    text = " ".join(render(CELLS, 7).split())
    assert "* 4 of 7 cells, 3 seeds each, 120 s of the real system; computed with the code abc." in text
    assert "* recordings and workloads: one, two." in text
    assert "* Shares of the footprint in fast memory: 5 %, 50 %." in text
    assert "* Movers in each cell: `numab2/hintfaults`." in text
    assert "7 cells are some 0.1 hours of a CPU" in text  # 7 * 36 s
    assert "No cell was computed" in render([], 7)


def test_outcomes_are_counted_for_each_share(render: Any) -> None:
    """Gains of 8 % and -10 %: the median is -1 %, the quartiles are half-way to it."""
    text = render(CELLS, 4)
    assert "| near | 5 % | the kernel alone | 1 | 0 | 0 | 1 | -1.0 % [-5.5 %, +3.5 %] |" in text
    assert "| near | 5 % | pghot in user space | 0 | 2 | 0 | 0 | - |" in text


def test_a_gain_is_taken_apart(render: Any) -> None:
    """Of 32 % the first program's mover has 8 and 24: a quarter and three quarters, half in the median."""
    text = render(CELLS, 4)
    assert "| one | near | +50.0 % | +4.0 % | +20.0 % | +10.0 % | +16.0 % | 50 % |" in text
    assert "| two | near | +50.0 % | +4.0 % | +20.0 % | +10.0 % | -6.5 % | -20.3 % |" in text


def test_answers_and_costs_are_over_all_cells(render: Any) -> None:
    text = render(CELLS, 4)
    assert "| `numab2/hintfaults` | 10 % [10 %, 25 %] | 1 of 4 | 1.5 |" in text
    assert (
        "| `numab2/hintfaults` | 8 | 1 % [1 %, 1.75 %] | 2 % [2 %, 2 %] | 50 % [50 %, 50 %] | 25 % [25 %, 25 %] | "
        "75 % [75 %, 75 %] |" in text
    )


def test_a_loss_within_the_interval_is_none(render: Any) -> None:
    """-3 ± 5 % does not count, -10 ± 1 % does: 4 + 2 % of the time go to tracking and moving there."""
    assert "| `numab2/hintfaults` | 1 of 4 | -10.0 % | 6 % | two near 5 % 32 GiB -10.0 % |" in render(
        CELLS, 4
    )
    assert "| `numab2/hintfaults` | 0 of 2 | - | - | - |" in render(CELLS[:2], 4)


def test_where_the_oracle_stood_still_is_counted(render: Any) -> None:
    assert "promoted nothing" not in render(CELLS, 4)
    still = [{**cell, "summary": [dict(row) for row in cell["summary"]]} for cell in CELLS[:3]]
    for cell in still[:2]:
        next(row for row in cell["summary"] if row["policy"] == "oracle-epoch")["promotions"] = 0
    assert "* `oracle-epoch` promoted nothing in 2 of 3 cells: no move repaid there." in render(still, 4)


def test_the_command_of_a_cell_stands_there(render: Any) -> None:
    text = render(CELLS, 4)
    assert (
        "pghot compare bundled:one --tiers near --fast-share 5% \\\n  --stands-for 32GiB --duration 120s \\\n"
        in text
    )
    assert (
        "  --seeds 3 --policies demotion,oracle-static,oracle-epoch,numab2 \\\n  --sources hintfaults\n"
        in text
    )


@pytest.mark.heavy
def test_a_cell_is_computed_kept_and_shown(tmp_path: Path) -> None:
    """The command itself, for one cell and a second of the real system; then it is there, and in the archive."""
    cell = "fasttext-zipf.dram-cxl.20%.8GiB"
    words = [
        sys.executable,
        str(BENCHMARKS / "evidence.py"),
        "--only",
        cell,
        "--duration",
        "1",
        "--seeds",
        "1",
    ]
    work, archive = tmp_path / "work", tmp_path / "cells.jsonl.xz"
    words += ["--jobs", "1", "--work", str(work), "--archive", str(archive), "-o", str(tmp_path)]
    packed = set[bytes]()
    for there in (0, 1, 1):
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert f"{there} of 672 cells are there, {1 - there} to compute" in done.stderr
        packed.add(archive.read_bytes())
        if there:
            shutil.rmtree(work)  # then they come from the archive alone
    assert len(packed) == 1
    text = " ".join((tmp_path / "evidence.md").read_text().split())
    assert "* 1 of 672 cells, 1 seed each, which gives no interval, 1 s of the real system" in text
    assert "pghot compare bundled:fasttext-zipf --tiers dram-cxl --fast-share 20% " in text
    assert "No cell was computed" in (tmp_path / "outcomes.md").read_text(), "it shows other footprints"
