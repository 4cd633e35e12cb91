"""docs/outcomes.md: counts, the matrix and where the footprint changes an outcome, worked on four cells."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

MATRIX = [(tiers, share) for tiers in ("dram-cxl", "far") for share in (0.2, 0.5) for _ in range(21)]


def render(cells: list[dict[str, Any]]) -> str:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        text: str = import_module("outcomes_page").render(cells, MATRIX)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return text


def a_class(
    runs_on: str,
    outcome: str,
    gain: float | None = None,
    reason: str | None = None,
    ci95: float | None = None,
) -> dict[str, Any]:
    best = "" if gain is None else f"{runs_on}-mover"
    tells = "a longer run" if reason else None
    return {
        "runs_on": runs_on, "outcome": outcome, "best": best, "gain": gain, "gain_ci95": ci95, "reason": reason,
        "would_tell": tells,
    }  # fmt: skip


def a_row(label: str, kind: str, runs_on: str, speedup: float, **more: Any) -> dict[str, Any]:
    """Of 1000 pages 250 are promoted, half of the misses are fast, and 3 % of the time goes to tracking and moving."""
    return {
        "label": label, "kind": kind, "runs_on": runs_on, "speedup": speedup, "promotions": 250.0,
        "fast_miss_share": 0.5, "tracking_app_share": 0.01, "moving_app_share": 0.02, "held_back": [], **more,
    }  # fmt: skip


def a_cell(footprint: int, share: float, kernel: dict[str, Any], source: str = "abc") -> dict[str, Any]:
    held = [["nothing seen", 2], ["threshold", 9]]
    return {
        "cell": {"recording": "tiny", "tiers": "dram-cxl", "fast_share": share, "footprint_gib": footprint},
        "settings": {"duration_s": 120.0, "seeds": 3},
        "source": source,
        "setup": {"footprint_pages": 1000, "llc_bytes": 1 << 20, "timing": {"passes": 1.91}},
        "summary": [
            a_row("oracle-epoch", "oracle", "nowhere", 1.375),
            a_row("kernel-mover", "mover", "kernel", 1.1, held_back=held),
        ],
        "verdict": {
            "classes": [
                kernel,
                a_class("user space", "pays", 0.123),
                a_class("to come", "cannot tell", reason="no mover of this class was run"),
            ]
        },
    }


STILL = a_class(
    "kernel", "cannot tell", reason="all its movers stood still, although oracle-epoch gains +37.5 %: ..."
)
CELLS = [
    a_cell(32, 0.2, a_class("kernel", "pays", 0.1)),
    a_cell(100, 0.2, STILL),
    a_cell(32, 0.5, a_class("kernel", "hurts", -0.04)),
    a_cell(100, 0.5, a_class("kernel", "hurts", -0.05), source="def"),
]


def test_every_cell_is_counted_once_in_each_class() -> None:
    text = render(CELLS)
    assert "* 4 of 84 cells, 3 seeds, 120 s of the real system." in text
    assert "computed with 2 versions of the code: 3 with abc, 1 with def." in text
    assert "| class | pays | cannot tell | does not pay | hurts |" in text
    assert "| the kernel alone | 1 | 1 | 0 | 2 |" in text
    assert "| pghot in user space | 4 | 0 | 0 | 0 |" in text
    assert "| hardware to come | 0 | 4 | 0 | 0 |" in text


def test_the_matrix_has_the_footprints_side_by_side() -> None:
    no_mover = "cannot tell: no mover of this class was run"
    assert (
        "| tiny | dram-cxl | 20 % | 1.9, 1.9 | +38 %, +38 % | pays +10.0 % | cannot tell: stood still (threshold) "
        f"| pays +12.3 % | pays +12.3 % | {no_mover} | {no_mover} |" in render(CELLS)
    )


def test_a_changed_outcome_is_told_with_what_decided_it() -> None:
    text = render(CELLS)
    assert (
        "In 1 of 6 pairs of cells the outcome of a class differs between F = 32 GiB and\nF = 100 GiB." in text
    )
    assert (
        "| tiny | dram-cxl | 20 % | the kernel alone | pays +10.0 % | cannot tell: stood still (threshold) | "
        "another pace; 32 GiB: `kernel-mover` promoted 25 % of the pages, 50 % of the misses are fast, it takes "
        "3.0 % of the time; 100 GiB: stood still (threshold) |" in text
    )


def test_what_was_computed_is_told_by_tiers_and_share() -> None:
    text = render(CELLS)
    assert "| tiers | 20 % | 50 % |" in text
    assert "| dram-cxl | 2 of 21 | 2 of 21 |\n| far | 0 of 21 | 0 of 21 |" in text
    assert "With one seed" not in text
    alone = {**CELLS[0], "settings": {"duration_s": 120.0, "seeds": 1}}
    assert "* 1 of 84 cells, 1 seed, 120 s" in render([alone])
    assert "* With one seed no figure has an interval" in render([alone])


def test_what_is_doubtful_is_named() -> None:
    """None of four; then a part of a pass, a gain of 40 % over an oracle's 37.5 %, and a loss that one mover avoids."""
    text = " ".join(render(CELLS).split())
    assert "* Never less than the whole recording was played" in text
    assert (
        "* Never a mover gains over 2 points more than the better oracle, which is then no upper bound."
        in text
    )
    assert (
        "* 2 times a class hurts, but one of its movers lost nothing, because it promoted next to nothing: "
        "tiny dram-cxl 50 % 32 GiB (the kernel alone), tiny dram-cxl 50 % 100 GiB (the kernel alone)." in text
    )
    odd = a_cell(32, 0.2, a_class("kernel", "pays", 0.4))
    odd["setup"]["timing"]["passes"] = 0.9
    text = " ".join(render([odd]).split())
    assert "parts of the program are missing: tiny dram-cxl 20 % 32 GiB." in text
    assert "which is then no upper bound: tiny dram-cxl 20 % 32 GiB." in text


def test_changes_are_of_four_kinds() -> None:
    """From 1.9 % to 2.1 %; from 10 to 15 ± 6 %; from 1 % to 9 % with a smaller cache, and with the same."""
    lost = a_class("kernel", "does not pay", 0.01)
    near = [
        a_cell(32, 0.2, a_class("kernel", "does not pay", 0.019)),
        a_cell(100, 0.2, a_class("kernel", "pays", 0.021)),
    ]
    cache = [a_cell(32, 0.3, lost), a_cell(100, 0.3, a_class("kernel", "pays", 0.09))]
    cache[1]["setup"]["llc_bytes"] = 1 << 18
    pace = [a_cell(32, 0.4, lost), a_cell(100, 0.4, a_class("kernel", "pays", 0.09))]
    seeds = [
        a_cell(32, 0.6, a_class("kernel", "pays", 0.1)),
        a_cell(100, 0.6, a_class("kernel", "cannot tell", 0.15, "the seeds differ", ci95=0.06)),
    ]
    text = " ".join(render([*near, *seeds, *cache, *pace]).split())
    assert "* Once the seeds: " in text
    assert "* Once near the limit: " in text
    assert "* Once another cache: " in text
    assert "* Once another pace: " in text
    assert "| 30 % | the kernel alone | does not pay +1.0 % | pays +9.0 % | another cache; 32 GiB:" in text
    assert "| 40 % | the kernel alone | does not pay +1.0 % | pays +9.0 % | another pace; 32 GiB:" in text


def test_reasons_are_counted_and_half_a_matrix_says_so() -> None:
    text = render(CELLS[:1])
    assert "| hardware to come | no mover of this class was run | a longer run | 1 |" in text
    assert "* 1 of 84 cells" in text
    assert "In 0 of 0 pairs" in text
    assert "No cell was computed" in render([])
