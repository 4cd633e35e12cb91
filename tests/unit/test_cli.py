"""The command line end to end: errors name the thing and the remedy, data goes to stdout as valid JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pghot.cli.main import run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["comparee"], "did you mean 'compare'"),
        (["compare", "--nope"], "No such option: --nope"),
        (["report"], "Missing command"),
        (["compare", "missing.pghot"], "no recording missing.pghot"),
        (["compare", "bundled:redis-zip"], "did you mean 'redis-zipf'"),
        (["compare", "bundled:redis-zipf", "--policies", "numab"], "did you mean 'numab2'"),
        (["compare", "bundled:redis-zipf", "--tiers", "dram-cx"], "did you mean 'dram-cxl'"),
        (["compare", "bundled:redis-zipf", "--fast-share", "abc"], "'abc' is not a share"),
        (["compare", "bundled:redis-zipf", "--scale-time", "x"], "'x' is not a number"),
        (["compare", "bundled:redis-zipf", "-o", "table.xls"], "end the name in one of"),
        (["list", "policie"], "did you mean 'policies'"),
    ],
)
def test_a_users_mistake_is_one_error_with_a_remedy(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "pghot: error:" in err
    assert "hint:" in err


def test_an_output_is_not_overwritten_without_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.html"
    path.write_text("mine")
    assert run(["compare", "bundled:redis-zipf", "-o", str(path)]) == 2
    assert path.read_text() == "mine"
    assert "--force" in capsys.readouterr().err


def test_compare_prints_json_with_bounds_and_writes_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    arguments = ["compare", "bundled:redis-zipf", "--policies", "none", "--bounds", "--json", "-o", str(page)]
    assert run(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "pghot.compare/1"
    assert [row["policy"] for row in found["summary"]] == ["none", "all-fast"]
    assert 0 < found["bounds"][0]["lru_miss_ratio"] < 1
    assert "simulated" in page.read_text("utf-8")
