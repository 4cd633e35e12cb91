"""`pghot report diff`: the real command on recordings and on results."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from builders.small_recordings import missing, recorded
from pghot.cli.main import run
from pghot.recording.trace import Region

HEAP = Region(0, 4, 0, 0x1000, "[heap]")


def row(label: str, speedup: float | None, half: float | None = 0.01) -> dict[str, Any]:
    return {"label": label, "speedup": speedup, "speedup_ci95": half, "fast_miss_share": 0.5, "moved_mb": 8.0}


def result(path: Path, rows: list[dict[str, Any]], **setup: object) -> str:
    facts = {"schema": "pghot.compare/1", "setup": {"trace": "demo", **setup}, "summary": rows}
    path.write_text(json.dumps({**facts, "verdict": {"headline": "Moving pages pays."}}))
    return str(path)


def output(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(["report", "diff", *words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


@pytest.fixture
def recordings(tmp_path: Path) -> tuple[str, str]:
    stack = Region(4, 2, 0, 0x9000, "[stack]")
    before = recorded(tmp_path / "a.pghot", [missing((0, 30), (4, 10))], [HEAP, stack]).path
    return before, recorded(tmp_path / "b.pghot", [missing((0, 10), (4, 30))], [HEAP, stack]).path


def test_nothing_after_rounding_has_no_sign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """[heap] has 10,000 of 10,004 misses, and then 10,000 of 10,001: 0.03 points more; [stack] as much less."""
    stack = Region(4, 2, 0, 0x9000, "[stack]")
    one, other = (
        recorded(tmp_path / f"{least}.pghot", [missing((0, 10_000), (4, least))], [HEAP, stack]).path
        for least in (4, 1)
    )
    found = output(capsys, one, other).splitlines()
    for name in ("[heap]", "[stack]"):
        (line,) = [line for line in found if line.startswith(name)]
        assert line.split()[9] == "0.0"


def test_two_recordings_as_text_json_and_table(
    recordings: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = output(capsys, *recordings)
    assert "50.0 % of the misses moved to other regions" in text
    heap = next(line for line in text.splitlines() if line.startswith("[heap]"))
    # 30 of 40 misses in 1 ms, then 10 of 40
    assert heap.split() == ["[heap]", "4.00", "KiB", "4.00", "KiB", "30", "k", "10", "k", "-50.0", "cooler"]
    assert "not known before: time is the program's own" in text
    facts = json.loads(output(capsys, *recordings, "--json", "-o", str(tmp_path / "d.csv")))
    assert (facts["schema"], facts["moved_share"]) == ("pghot.diff/1", 0.5)
    assert {each["name"]: each["words"] for each in facts["regions"]} == {
        "[heap]": ["cooler"],
        "[stack]": ["hotter"],
    }
    with (tmp_path / "d.csv").open() as file:
        lines = {line["name"]: line for line in csv.DictReader(file)}
    assert lines["[heap]"]["change"] == "cooler"
    assert lines["[heap]"]["share_after"] == "0.25"


def test_two_results_say_what_was_not_the_same_and_whose_intervals_are_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = result(tmp_path / "a.json", [row("a", 1.10), row("b", 1.10), row("c", 1.0)], fast_share=0.2)
    # a: from 10 to 13 %, 3 points with halves of 1 each; b: 1.5 points; d was not run before.
    after = result(
        tmp_path / "b.json", [row("a", 1.13), row("b", 1.115), row("d", None, None)], fast_share=0.3
    )
    facts = json.loads(output(capsys, before, after, "--json"))
    assert facts["schema"] == "pghot.compare-diff/1"
    assert facts["setup"] == {"fast_share": {"before": 0.2, "after": 0.3}}
    runs = {each["label"]: each for each in facts["runs"]}
    assert [runs[label]["apart"] for label in "abcd"] == [True, False, False, False]
    assert runs["a"]["gained"] == pytest.approx(0.03)
    assert (runs["c"]["gain_after"], runs["d"]["gain_after"], runs["d"]["gained"]) == (None, None, None)
    text = output(capsys, before, after, "-o", str(tmp_path / "d.html"))
    assert "not the same: fast_share: 0.2 -> 0.3" in text
    lines = {line.split(maxsplit=1)[0]: line for line in text.splitlines() if line[:1] in "abcd" and line}
    assert lines["a"].split()[1:8] == ["+10.0", "±", "1.0", "+13.0", "±", "1.0", "+3.0"]
    assert lines["a"].endswith("apart")
    assert "not run" in lines["c"]
    assert "the intervals are apart" in (tmp_path / "d.html").read_text()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{", "Invalid JSON"),
        ('{"schema": "pghot.wss/1"}', "schema: Input should be 'pghot.compare/1'"),
        (
            '{"schema": "pghot.compare/1", "setup": {}, "summary": [{}], "verdict": {}}',
            "summary.0.label: Field",
        ),
    ],
)
def test_what_is_no_result_is_refused(
    content: str, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    assert run(["report", "diff", str(path), str(path)]) == 2
    said, hint = capsys.readouterr().err.splitlines()
    assert f"'{path}' is no result of compare: {error}" in said
    assert "compare --json" in hint


def test_mistakes_are_named(recordings: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "diff", recordings[0], "a.json"]) == 2
    assert "a recording and a result have nothing to compare" in capsys.readouterr().err
    assert run(["report", "diff", *recordings, "-o", "a.png"]) == 2
    assert "end the name in one of .html, .parquet" in capsys.readouterr().err


def test_names_from_outside_do_not_control_the_page(tmp_path: Path) -> None:
    hostile = Region(0, 4, 0, 0x1000, "</script><script>alert(1)</script>\x1b[2J")
    paths = [recorded(tmp_path / name, [missing((0, 3))], [hostile]).path for name in ("a.pghot", "b.pghot")]
    assert run(["report", "diff", *paths, "-o", str(tmp_path / "d.html")]) == 0
    page = (tmp_path / "d.html").read_text()
    assert "<script>alert" not in page
    assert "\x1b" not in page
