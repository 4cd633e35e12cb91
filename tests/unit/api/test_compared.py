"""Comparisons from Python: asked for in words, and shown as the command line shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pghot
from builders.recordings import REPLAYED, random_trace
from pghot.lab.compare import compare as lab_compare
from pghot.report.comparison_text import render
from pghot.report.shares_text import render as render_shares

PLAYED: dict[str, Any] = {"stands_for": REPLAYED, "duration_s": None, "seeds": 2}


@pytest.fixture(scope="module")
def result() -> pghot.Comparison:
    return pghot.compare(
        random_trace(most_instructions=REPLAYED), "dram-cxl", "numab2", fast_share="25%", **PLAYED
    )


def test_words_ask_for_what_numbers_and_lists_ask_for(result: pghot.Comparison) -> None:
    plain = lab_compare(
        random_trace(most_instructions=REPLAYED), "dram-cxl", ["numab2"], fast_share=0.25, **PLAYED
    )
    assert result.to_dict() == plain.to_dict()
    assert str(result) == render(plain, [])


def test_it_tells_what_was_compared_in_a_line(result: pghot.Comparison) -> None:
    said = repr(result)
    assert said.startswith("<Comparison of demo on ")
    assert ", fast share 25.0 %: 3 runs, 2 seeds, simulated. " in said
    assert said.endswith(f"{result.verdict.headline}>")


def test_its_table_has_the_runs_below_their_class(result: pghot.Comparison) -> None:
    table = result.table("speedup, coverage")
    assert table.head == ("  policy/sources", "speed-up", "coverage")
    assert [row[0].strip("* ") for row in table.rows] == [
        "The kernel alone:",
        "none",
        "all-fast",
        "numab2/hintfaults",
    ]
    assert table.rows[1][1] == "1.000 ±0.000"  # 'none' beside itself, under both seeds
    assert all(line in str(result).splitlines() for line in repr(result.table()).splitlines())
    with pytest.raises(pghot.PghotError, match="unknown metric 'speed'"):
        result.table(["speed"])


def test_a_notebook_shows_table_setup_and_verdict(result: pghot.Comparison) -> None:
    shown = result._repr_html_()
    assert '<tr><th colspan="8">The kernel alone:</th></tr>' in shown
    assert "<li>SIMULATED: demo (redis-server --port 0)" in shown
    assert shown.count("<li>") > len(result.verdict.sentences)


def test_its_picture_has_a_bar_for_each_run(result: pghot.Comparison, tmp_path: Path) -> None:
    result.plot().save(tmp_path / "gains.svg")
    assert result.plot()._repr_png_().startswith(b"\x89PNG")
    drawn = (tmp_path / "gains.svg").read_text()
    assert "<!-- numab2/hintfaults -->" in drawn
    assert "<!-- all-fast -->" in drawn
    assert "#0072b2" in drawn  # the kernel alone
    assert "#888888" in drawn  # what does not move


def test_several_shares_give_curves(tmp_path: Path) -> None:
    played = PLAYED | {"seeds": 1}
    curves = pghot.compare(
        random_trace(most_instructions=REPLAYED), policies="numab2", fast_share=["50%", 0.1], **played
    )
    assert isinstance(curves, pghot.Curves)
    assert curves.shares == [0.1, 0.5]
    assert ": 3 runs at 10 %, 50 % of fast memory, simulated>" in repr(curves)
    assert str(curves) == render_shares(curves, [])
    assert curves.summary["fast_share"].to_pylist() == [0.1] * 3 + [0.5] * 3
    table = curves.table("fast_miss_share")
    assert table.head[1:] == ("10.0 %", "50.0 %")
    assert [row[0].strip() for row in table.rows[2:]] == ["none", "all-fast", "numab2/hintfaults"]
    assert "<th>50.0 %</th>" in curves._repr_html_()
    assert curves.plot()._repr_png_().startswith(b"\x89PNG")
    same = pghot.compare(
        random_trace(most_instructions=REPLAYED), policies="numab2", fast_share="10%,50%", **played
    )
    assert same.summary == curves.summary
    alone = pghot.compare(
        random_trace(most_instructions=REPLAYED), policies="numab2", fast_share=["10%"], **played
    )
    assert alone.to_dict() == curves.comparisons[0].to_dict()


def test_what_the_command_line_refuses_is_refused() -> None:
    for given, message in (
        ({"policies": "numab"}, "unknown policy 'numab'"),
        ({"sources": "pebs,nobody"}, "unknown source 'nobody'"),
        ({"fast_share": "120%"}, "'120%' is not a share"),
        ({"stands_for": "hugex"}, "'hugex' is no multiple"),
        ({"options": "numab2.rate=1"}, "unknown option of 'numab2' 'rate'"),
    ):
        with pytest.raises(pghot.PghotError, match=message) as caught:
            pghot.compare(random_trace(most_instructions=REPLAYED), **given)  # type: ignore[call-overload]
        assert caught.value.hint
