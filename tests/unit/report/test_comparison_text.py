"""Notes below the table of a comparison, and charts of rows that do not compare."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from builders.summary_rows import SETUP, summary_row
from pghot.lab.outcomes import SummaryRow
from pghot.lab.results import Comparison
from pghot.lab.verdict import judge
from pghot.report.comparison_charts import speedups
from pghot.report.comparison_page import render as render_page
from pghot.report.comparison_text import footnotes, render, seed_lines, setup_lines

NONE = summary_row("none", 1.0, "baseline")


def result_of(*rows: SummaryRow) -> Comparison:
    nothing = pa.table({})
    return Comparison(SETUP, rows, (), nothing, nothing, nothing, judge(rows, SETUP), ())


def test_options_are_told_of_the_policy_where_all_its_runs_have_them() -> None:
    slow = ("rate_limit_mb_s=1",)
    both = [summary_row(f"hemem/{source}", 1.1, options=slow) for source in ("ibs", "pebs")]
    assert footnotes(result_of(NONE, *both))[-1] == "hemem: rate_limit_mb_s=1"
    one = [both[0], replace(both[1], options=())]
    assert footnotes(result_of(NONE, *one))[-1] == "hemem/ibs: rate_limit_mb_s=1"


def test_what_is_to_come_says_what_it_awaits() -> None:
    rows = [
        summary_row("hemem/truth", 1.2),
        summary_row("pghot-default/chmu", 1.1, runs_on="to come"),
        summary_row("lru-bw", 1.1, runs_on="to come"),
    ]
    assert footnotes(result_of(NONE, *rows)) == [
        "* best mover of its class",
        "the source 'truth' is every cache miss at no cost: a yardstick that no machine has",
        "the source 'chmu' needs hardware, and a driver that no released kernel has",
        "'pghot-default' awaits the pghot patches, which no released kernel has",
        "'lru-bw' awaits a patch that was asked for and not yet written",
    ]


def test_the_table_is_grouped_by_what_it_takes_and_marks_the_best_of_each_class() -> None:
    rows = [
        NONE,
        summary_row("pghot-default/abit", 1.1),
        summary_row("oracle-epoch", 1.4, "oracle"),
        summary_row("numab2/hintfaults", 1.2, runs_on="kernel"),
        summary_row("pghot-hashed/abit", 1.3),
    ]
    lines = render(result_of(*rows), ["speedup", "promotions"]).split("\n\n")[1].split("\n")
    assert [line.split("  1.")[0].rstrip() for line in lines[1:]] == [
        "The kernel alone:",
        "  none",
        "* numab2/hintfaults",
        "A released kernel with pghot in user space:",
        "  pghot-default/abit",
        "* pghot-hashed/abit",
        "What no machine can do: it knows the future:",
        "  oracle-epoch",
    ]
    assert lines[-1].split() == ["oracle-epoch", "1.400", "500"]


def test_each_mover_that_stood_still_is_listed_with_its_decisions() -> None:
    """1,000 pages: a mover that promoted one of them moved."""
    rows = [
        summary_row("none", 1.0, "baseline", promotions=0),
        summary_row("lru-bw", 1.0, promotions=1, held_back={"rate": 3}),
        summary_row("hemem/pebs", 1.0, promotions=0.9, held_back={"threshold": 41_000, "nothing seen": 3}),
        summary_row("theirs", 1.0, promotions=0),
    ]
    result = result_of(*rows)
    assert render(result, ["speedup"]).split("\n\n")[2].split("\n") == [
        "Stood still, and its decisions not to move:",
        "  hemem/pebs  threshold 41,000, nothing seen 3",
        "  theirs      not told",
    ]
    page = render_page(result, ["pghot", "compare"])
    assert "<td title='threshold 41,000, nothing seen 3'>threshold</td>" in page
    assert "<td title='not told'>not told</td>" in page
    assert "Stood still, and" not in render(result_of(NONE, summary_row("hemem/pebs", 1.1)), ["speedup"])


def test_the_verdict_has_a_line_for_each_class_and_note() -> None:
    text = render(result_of(NONE, summary_row("numab2/hintfaults", 1.2, runs_on="kernel")), [])
    assert text.split("\n\n")[-1].split("\n")[:2] == [
        "Moving pages pays on a released kernel.",
        "- The kernel alone: pays. numab2/hintfaults gains +20.0 % over 'none'.",
    ]


def test_the_setup_in_sentences() -> None:
    assert setup_lines(SETUP) == [
        "SIMULATED: tiny (redis-server --port 0), truncated",
        "stands for a program of 125.0 MiB with 16 threads, 32 pages for each recorded one; its cache of 1.0 MiB "
        "stands for 32.0 MiB",
        "2.5 passes of 120 s, phases longer with more data, in slices of at most 50 ms (590 joined); bandwidth in "
        "use without moves: dram 10 %, cxl 40 %",
        "tiers: dram 800.0 KiB at 100 ns, cxl 7.8 MiB at 250 ns; fast share 20.0 %",
        "2 seeds, steady after 20 of 60 epochs",
        "warning: damaged",
    ]


@pytest.mark.parametrize(("passes", "epochs", "told"), [(60.0, 60, True), (59.0, 60, False), (1.0, 1, False)])
def test_a_pass_of_one_epoch_hides_what_changes_inside_it(passes: float, epochs: int, told: bool) -> None:
    setup = replace(SETUP, epochs=epochs, timing=replace(SETUP.timing, passes=passes))
    assert any(line.startswith("a pass is one epoch") for line in setup_lines(setup)) == told


def test_the_widest_spread_over_the_seeds_is_told() -> None:
    """0.06 of 1.20 is 5 %, 0.03 of 1.25 is 2.4 %; a single seed has no spread."""
    wide = summary_row("numab2/hintfaults", (1.17, 1.20, 1.23))
    narrow = summary_row("hemem/pebs", (1.235, 1.25, 1.265))
    assert seed_lines(result_of(NONE, narrow, wide)) == [
        "seeds differ in what is sampled, in how slices are cut and in the order among equals: speed-ups are at most "
        "5 % apart (numab2/hintfaults)"
    ]
    assert seed_lines(result_of(NONE, summary_row("hemem/pebs", 1.25))) == []


def test_gains_are_drawn_of_runs_that_compare_only() -> None:
    dead = summary_row("contained/chmu", None)
    (chart,) = speedups([NONE, dead, summary_row("hemem/ibs", 1.25)])
    figure = chart.figure
    assert figure.data[0].y == ("hemem/ibs", "none")
    assert figure.data[0].x == (25.0, 0.0)
    assert speedups([replace(NONE, figures=dead.figures), dead]) == []
