"""`compare` over several shares: each is the comparison with that share, and its table, text and picture show it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import pghot
from builders.recordings import REPLAYED, random_trace
from pghot.cli.main import run
from pghot.lab.setting import Setting
from pghot.lab.share_curves import compare_shares
from pghot.recording.writer import write_recording
from pghot.units import parse_shares

TRACE = random_trace(parts=3, most_instructions=REPLAYED)
SETTING = Setting(duration_s=None, seeds=2)
WORDS = ["--policies", "demotion", "--duration", "one-pass", "--seeds", "1"]


@pytest.fixture
def recording(tmp_path: Path) -> str:
    write_recording(tmp_path / "a.pghot", TRACE)
    return str(tmp_path / "a.pghot")


def test_each_is_the_comparison_with_its_share() -> None:
    seen: list[tuple[int, int]] = []
    curves = compare_shares(
        [0.1, 0.5], TRACE, policies=["demotion"], setting=SETTING, progress=lambda *part: seen.append(part)
    )
    for share, found in zip(curves.shares, curves.comparisons, strict=True):
        alone = pghot.compare(TRACE, policies=["demotion"], duration_s=None, seeds=2, fast_share=share)
        assert found.to_dict() == alone.to_dict()
    assert [[row.label for row in line] for line in curves.lines()] == [
        [label, label] for label in ("none", "all-fast", "demotion")
    ]
    footprint = curves.comparisons[0].setup.footprint_pages * 4096
    assert curves.fast_bytes() == pytest.approx([0.1 * footprint, 0.5 * footprint], rel=0.02)
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def test_the_table_has_a_row_for_each_share_and_run(
    recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = [tmp_path / f"a.{kind}" for kind in ("parquet", "png", "svg", "pdf", "csv")]
    words = [*WORDS, "--fast-share", "10%,50%", "--json"]
    assert run(["compare", recording, *words, *(word for path in outputs for word in ("-o", str(path)))]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["schema"] == "pghot.compare-shares/1"
    table = pq.read_table(outputs[0]).to_pylist()
    assert [(row["fast_share"], row["label"]) for row in table] == [
        (share, label) for share in (0.1, 0.5) for label in ("none", "all-fast", "demotion")
    ]
    told = {
        (part["fast_share"], row["label"]): row["slowdown"]
        for part in facts["shares"]
        for row in part["summary"]
    }
    assert {(row["fast_share"], row["label"]): row["slowdown"] for row in table} == told
    assert outputs[1].read_bytes().startswith(b"\x89PNG")


def test_the_text_has_a_column_for_each_share(recording: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", recording, *WORDS, "--fast-share", "10%,50%", "--columns", "slowdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = next(line for line in lines if line.startswith("slowdown"))
    assert heads.split() == ["slowdown", "10.0", "%", "50.0", "%"]
    assert next(line for line in lines if line.startswith("  all-fast")).split() == [
        "all-fast",
        "1.000",
        "1.000",
    ]
    assert sum(line.startswith(("10.0 %: ", "50.0 %: ")) for line in lines) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--fast-share", "50%..20%"], "is no range of shares"),
        (["--fast-share", "5%..many"], "'many' is not a share"),
        (["--fast-share", "5%,20%", "-o", "a.html"], "end the name in one of .png"),
        (["-o", "a.png"], "end the name in one of .html"),
    ],
)
def test_wrong_words(words: list[str], said: str, recording: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", recording, *WORDS, *words]) == 2
    assert said in capsys.readouterr().err


def test_a_range_has_its_ends_and_round_shares_between() -> None:
    assert parse_shares("7%..32%") == [0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.32]
    assert parse_shares("5%..80%") == [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    assert parse_shares("0.5,20%,50%") == [0.2, 0.5]
