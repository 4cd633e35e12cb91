"""docs/reports.md shows what the commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pghot.cli.main import run

PAGE = (Path(__file__).parents[2] / "docs" / "reports.md").read_text()
SHOWN = re.findall(r"^ {4}pghot ([^\n]*)\n\n```text\n(.*?)\n```", PAGE, re.MULTILINE | re.DOTALL)


def test_each_report_is_shown() -> None:
    assert {command.split()[1] for command, _ in SHOWN} >= {
        "bundled:duckdb-mix",
        "heatmap",
        "wss",
        "timeline",
    }
    assert len(SHOWN) == PAGE.count("```text")


@pytest.mark.parametrize(("command", "text"), SHOWN, ids=[command for command, _ in SHOWN])
def test_the_page_shows_what_the_command_prints(
    command: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(shlex.split(command)) == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.rstrip().split("\n")]
    assert text.split("\n") == printed
