"""`pghot report`: the real command on recordings, in the terminal, as JSON and as tables."""

from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from builders.recordings import random_trace
from builders.small_recordings import TWO_THREADS, recorded
from pghot.cli.main import run
from pghot.recording.reader import Recording, open_recording
from pghot.recording.trace import Region
from pghot.recording.writer import write_recording

BUNDLED = "bundled:redis-zipf"


@pytest.fixture
def random_recording(tmp_path: Path) -> Recording:
    write_recording(
        tmp_path / "a.pghot", random_trace(parts=3, slices=40, rows=200, info=TWO_THREADS, threads=2)
    )
    return open_recording(tmp_path / "a.pghot")


def output(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(["report", *words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 120])
def test_pictures_fit_the_terminal_and_a_file_in_place_of_a_report_is_its_summary(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = output(capsys, BUNDLED)
    assert text == output(capsys, "summary", BUNDLED)
    assert "\x1b" not in text
    drawn = [line for line in text.split("\n") if set(line) & set("│┆░▒▓█")]
    assert max(map(len, drawn)) <= columns
    assert max(map(len, drawn)) > columns * 0.8, "the width is used"
    for words in (["heatmap", BUNDLED], ["wss", BUNDLED], ["timeline", BUNDLED]):
        assert max(map(len, output(capsys, *words).split("\n"))) <= columns


def test_anonymous_memory_is_parted_into_its_hot_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(capsys, BUNDLED).split("\n")
    anon = next(number for number, line in enumerate(lines) if line.startswith("[anon]  "))
    assert lines[anon + 1].split()[-2:] == ["76.3", "%"]
    assert lines[anon + 1].startswith("  4006d47000-40173ab000 ")


def test_every_cell_counts_in_json_and_tables(
    random_recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = random_recording.path
    facts = json.loads(output(capsys, "heatmap", path, "--json", "-o", str(tmp_path / "h.csv")))
    assert facts["schema"] == "pghot.heatmap/1"
    assert sum(map(sum, facts["cells"])) == random_recording.total_misses
    assert len(facts["cells"]) == len(facts["rows"])
    assert {len(cells) for cells in facts["cells"]} == {facts["bins"]} == {120}
    with (tmp_path / "h.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert sum(int(line["misses"]) for line in lines) == random_recording.total_misses
    assert {line["name"] for line in lines} >= {"[heap]", "[stack]"}
    writes = json.loads(
        output(capsys, "heatmap", path, "--json", "--of", "writes", "--rows", "7", "--columns", "5")
    )
    assert sum(map(sum, writes["cells"])) == random_recording.total_writes
    assert len(writes["cells"]) <= 7
    assert writes["bins"] <= 5


def test_the_working_set_of_a_window_as_json_and_table(
    random_recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["wss", random_recording.path, "--window", "10ms", "--json", "-o", str(tmp_path / "w.parquet")]
    facts = json.loads(output(capsys, *words))
    assert (facts["schema"], facts["bin_ns"], facts["bins"]) == ("pghot.wss/1", 10_000_000, 12)
    assert sum(facts["misses"]) == random_recording.total_misses
    sizes = zip(
        facts["bytes_of_50"], facts["bytes_of_90"], facts["bytes_of_99"], facts["touched_bytes"], strict=True
    )
    assert all(list(each) == sorted(each) for each in sizes)
    table = pq.read_table(tmp_path / "w.parquet").to_pydict()
    assert table["touched_bytes"] == facts["touched_bytes"]
    assert table["start_s"][:2] == [0.0, 0.01]


def test_the_timeline_adds_up_over_regions_and_over_threads(
    random_recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = json.loads(
        output(capsys, "timeline", random_recording.path, "--json", "-o", str(tmp_path / "t.csv"))
    )
    assert facts["schema"] == "pghot.timeline/1"
    for what in ("regions", "threads"):
        assert sum(sum(each["misses"]) for each in facts[what]) == random_recording.total_misses
        assert sum(sum(each["writes"]) for each in facts[what]) == random_recording.total_writes
    with (tmp_path / "t.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert sum(int(line["touches"]) for line in lines) == 2 * random_recording.total_touches
    text = output(capsys, "timeline", random_recording.path)
    assert "8 worker" in text


def test_the_timeline_is_a_trace_for_perfetto(
    random_recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What its counters say over time adds up to the recording."""
    path = tmp_path / "t.perfetto-trace"
    facts = json.loads(output(capsys, "timeline", random_recording.path, "--json", "-o", str(path)))
    events = json.loads(path.read_bytes())["traceEvents"]
    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert names == {1: f"{facts['name']}: regions", 2: f"{facts['name']}: threads"}
    counters: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for event in events:
        if event["ph"] == "C":
            counters.setdefault((event["pid"], event["name"]), []).append(event)
    assert sorted(counters) == sorted(
        [(1, each["name"]) for each in facts["regions"]] + [(2, each["name"]) for each in facts["threads"]]
    )
    for pid in (1, 2):
        misses = 0.0
        for (owner, _), line in counters.items():
            assert [event["ts"] for event in line] == sorted({event["ts"] for event in line})
            assert set(line[-1]["args"].values()) == {0.0}, "it ends at the end"
            if owner == pid:
                misses += sum(
                    event["args"]["misses per second"] * (after["ts"] - event["ts"]) / 1e6
                    for event, after in pairwise(line)
                )
        assert misses == pytest.approx(random_recording.total_misses)


def test_what_a_recording_does_not_know_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    region = Region(0, 4, 0, 0x1000, "[heap]")
    path = recorded(tmp_path / "a.pghot", [{(0, 0): (5, 0, 0)}], [region]).path
    text = output(capsys, path)
    assert "not known: no cache misses were recorded: heat is touches" in text
    assert "not known: no writes were recorded" in text
    assert "not known: threads were not told apart" in text
    assert "no hot-set curve" in text
    assert "touches per page and second" in text
    assert "no misses were recorded" in output(capsys, "timeline", path)
    assert "what takes most of them cannot be said" in output(capsys, "wss", path)
    assert "no heat map: no writes were recorded" in output(capsys, "heatmap", path, "--of", "writes")


def test_gaps_in_time_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    region = Region(0, 4, 0, 0x1000, "[heap]")
    path = recorded(tmp_path / "a.pghot", [{(0, 0): (5, 1, 0)}] * 3, [region], gap=2).path
    assert "? nobody looked" in output(capsys, "heatmap", path)
    assert "in 2 of 5 windows nobody looked" in output(capsys, "wss", path)
    assert "in 2 of 5 columns nobody looked" in output(capsys, "timeline", path)
    assert json.loads(output(capsys, "wss", path, "--json"))["touched_bytes"] == [
        4096,
        4096,
        None,
        None,
        4096,
    ]


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["heatmp"], "unknown report 'heatmp'", "did you mean 'heatmap'?"),
        (["redis-zipf"], "unknown report 'redis-zipf'", "did you mean 'bundled:redis-zipf'?"),
        (["dump"], "unknown report 'dump'", "a file of that name is ./dump"),
        (["./dump"], "no recording dump", "check the path"),
        (["heatmap", BUNDLED, "--of", "reads"], "unknown measure 'reads'", "known: misses, touches, writes"),
        (
            ["wss", BUNDLED, "--window", "1us"],
            "windows of 1.00 us are shorter than a slice",
            "give at least 8.00 ms",
        ),
        (["wss", BUNDLED, "--window", "soon"], "'soon' is not a duration", "write a duration"),
        (
            ["wss", BUNDLED, "-o", "a.doc"],
            "cannot write 'a.doc': unknown format",
            "end the name in one of .html, .parquet",
        ),
    ],
)
def test_mistakes_are_named(
    words: list[str], error: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", *words]) == 2
    said, remedy = capsys.readouterr().err.splitlines()
    assert said.startswith(f"pghot: error: {error}")
    assert hint in remedy


def test_an_output_is_not_overwritten_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.csv"
    path.write_text("mine")
    assert run(["report", "wss", BUNDLED, "-o", str(path)]) == 2
    assert path.read_text() == "mine"
    assert run(["report", "wss", BUNDLED, "-o", str(path), "--force"]) == 0
    assert path.read_text().startswith('"start_s"')


def test_colour_is_used_where_the_terminal_shows_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[48;" in output(capsys, "heatmap", BUNDLED)
    monkeypatch.setenv("NO_COLOR", "1")
    text = output(capsys, "heatmap", BUNDLED)
    assert "\x1b[48;" not in text
    assert "█" in text
