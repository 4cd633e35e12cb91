"""Notes below the table of a comparison, and charts of rows that do not compare."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from builders.summary_rows import SETUP, summary_row
from pghot.lab.outcomes import SummaryRow
from pghot.lab.results import Comparison
from pghot.lab.verdict import Verdict
from pghot.report.comparison_charts import speedups
from pghot.report.comparison_text import footnotes, setup_lines

NONE = summary_row("none", 1.0, "baseline")


def result_of(*rows: SummaryRow, best: str = "") -> Comparison:
    nothing = pa.table({})
    return Comparison(SETUP, rows, (), nothing, nothing, nothing, Verdict("pays", best, 0.0), ())


def test_options_are_told_of_the_policy_where_all_its_runs_have_them() -> None:
    slow = ("rate_limit_mb_s=1",)
    both = [summary_row(f"hemem/{source}", 1.1, options=slow) for source in ("ibs", "pebs")]
    assert footnotes(result_of(NONE, *both)) == ["hemem: rate_limit_mb_s=1"]
    one = [both[0], replace(both[1], options=())]
    assert footnotes(result_of(NONE, *one)) == ["hemem/ibs: rate_limit_mb_s=1"]


@pytest.mark.parametrize(
    ("promotions", "options", "told"),
    [(9, (), True), (10, (), False), (9, ("freq_threshold=1",), False)],
)
def test_hint_faults_that_promote_less_than_a_hundredth_are_explained(
    promotions: float, options: tuple[str, ...], told: bool
) -> None:
    row = summary_row("pghot-default/hintfaults", 1.0, options=options, promotions=promotions)
    notes = footnotes(result_of(NONE, row))
    assert any("promote almost nothing" in note for note in notes) is told, "of 1000 pages"


def test_truth_and_the_best_are_explained() -> None:
    notes = footnotes(result_of(NONE, summary_row("hemem/truth", 1.2), best="x"))
    assert notes == [
        "* best mover",
        "the source 'truth' is every cache miss at no cost: a yardstick that no machine has",
    ]


def test_the_setup_in_sentences() -> None:
    assert setup_lines(SETUP) == [
        "SIMULATED: tiny (redis-server --port 0)",
        "footprint 3.9 MiB; last-level cache 1.0 MiB, 16 ways (footprint is 3.9 times that)",
        "tiers: dram 800.0 KiB at 100 ns, cxl 7.8 MiB at 250 ns; fast share 20.0 %",
        "as published; 1 pass(es), 2 seed(s), steady after 20 of 60 epochs",
        "warning: damaged",
    ]


def test_gains_are_drawn_of_runs_that_compare_only() -> None:
    dead = summary_row("contained/chmu", None)
    (figure,) = speedups([NONE, dead, summary_row("hemem/ibs", 1.25)])
    assert figure.data[0].y == ("hemem/ibs", "none")
    assert figure.data[0].x == (25.0, 0.0)
    assert speedups([replace(NONE, figures=dead.figures), dead]) == []
