"""Names that programs and files choose cannot steer a terminal, wherever pghot prints them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.accesses import trace_from_accesses
from pghot.cli.main import run
from pghot.daemon.logs import event, open_log
from pghot.printable import printable
from pghot.recording.writer import write_recording
from pghot.report.live_text import render_undo
from pghot.report.view.history import StatusHistory
from pghot.report.view.list_panel import hot_lines, program_lines
from pghot.report.view.node_panel import cgroup_words
from pghot.report.view.parts import Picture

EVIL = "ev\x1b]0;il\x07\x9b2J\r\n\u202e\udcff"
SHOWN = "ev\\x1b]0;il\\x07\\x9b2J\\r\\n\\u202e\\udcff"


@given(st.text(st.characters(exclude_categories=())))
def test_what_is_printed_is_one_line_of_characters_that_do_nothing(text: str) -> None:
    assert printable(text).isprintable()
    printable(text).encode("utf-8")
    assert printable(printable(text)) == printable(text)
    if text.isprintable():
        assert printable(text) == text


def test_it_is_readable_what_was_there() -> None:
    assert printable(EVIL) == SHOWN


def test_the_live_view_lists_programs_and_cgroups() -> None:
    row = {"pid": 7, "heat": 9, "address": 4096, "bytes": 4096, "node": 1}
    picture = Picture({"programs": [{"pid": 7, "name": EVIL}]}, [row], StatusHistory())
    lines = [*program_lines(picture, 80, 10), *hot_lines(picture, 120, 10)]
    assert all(line.plain.isprintable() for line in lines)
    told = " ".join(line.plain for line in lines)
    assert " ev\\x1b]…2e\\udcff " in told, "in the list of programs"
    assert " ev\\x1b]0;…202e\\udcff " in told, "beside its hot region"
    limits = dict.fromkeys(("current_bytes", "high_bytes", "max_bytes"))
    assert cgroup_words({"cgroup": EVIL, **limits}) == f"cgroup {SHOWN}: no limits"


def test_undo_tells_of_programs() -> None:
    facts: dict[str, Any] = {
        "pages_back": 1, "pages_home": 2, "pages_gone": 3, "pages_left": {f"7 ({EVIL})": 4},
        "processes_gone": [f"8 ({EVIL})"], "files_gone": [EVIL], "knobs": [], "problems": [f"cannot: {EVIL}"],
    }  # fmt: skip
    text = render_undo(facts)
    assert all(line.isprintable() for line in text.splitlines())
    assert text.count(SHOWN) == 4
    assert len(text.splitlines()) == 6


def test_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", f"{EVIL}.pghot"]) == 2
    error, hint = capsys.readouterr().err.split("\n")[:2]
    assert error == f"pghot: error: no recording {SHOWN}.pghot"
    assert hint.startswith("hint: ")


def test_the_log_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    event(open_log("text"), "tracked", program=EVIL)
    assert capsys.readouterr().err == f"pghot: info: tracked program={SHOWN}\n"


def test_a_recording_names_itself_and_its_regions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil, shown = EVIL[:-1], SHOWN.removesuffix("\\udcff")  # a recording holds whole characters only
    trace = trace_from_accesses(np.arange(3_000, dtype=np.uint32) % 50, accesses_per_slice=100, name=evil)
    path = tmp_path / "it.pghot"
    write_recording(path, trace)
    for command in (["report", "summary", str(path)], ["compare", str(path), "--policies", "none"]):
        assert run(command) == 0
        out = capsys.readouterr().out
        assert all(line.isprintable() for line in out.split("\n"))
        assert shown in out
