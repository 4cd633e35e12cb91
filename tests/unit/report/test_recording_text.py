"""What a recording run ended with, in words and as facts."""

from __future__ import annotations

from pathlib import Path

from pghot.recorder.recorder import Outcome
from pghot.report.recording_text import emulated_facts, emulated_lines, live_facts, live_line

OUTCOME = Outcome(
    path=Path("a.pghot"),
    status=-15,
    interrupted=False,
    out_of_time=True,
    virtual_ns=10**9,
    wall_s=2.0,
    references=10**8,
    slices=1000,
    slice_ns=2_000_000,
    joined=8,
    footprint=512,
    file_bytes=1 << 20,
    threads=3,
    waiting_share=0.25,
    not_followed=("sh\x1b[2J",),
)


def test_figures_end_and_children_have_a_line_each() -> None:
    assert emulated_lines(OUTCOME) == [
        "recorded: 1.00 s in 1000 slices, 6x slower, 2.0 MiB touched, 1.0 MiB file",
        "the program: ended by SIGTERM, 3 working threads, 25 % of the instructions only waited",
        "slices of 2.00 ms: 8 each were joined to keep the file small",
        "not followed: sh\\x1b[2J (--children follows them)",
    ]


def test_the_facts_keep_their_names() -> None:
    assert emulated_facts(OUTCOME) == {
        "schema": "pghot.record/1",
        "recording": "a.pghot",
        "exit_status": -15,
        "interrupted": False,
        "virtual_ns": 10**9,
        "wall_s": 2.0,
        "references": 10**8,
        "slices": 1000,
        "slice_ns": 2_000_000,
        "waiting_share": 0.25,
        "footprint_pages": 512,
        "file_bytes": 1 << 20,
        "threads": 3,
        "not_followed": ["sh\x1b[2J"],
    }


def test_a_live_recording_has_a_line_and_the_same_schema() -> None:
    facts = {"recording": "a\x1b[2J.pghot", "slices": 1000, "rows": 20_000, "interrupted": False}
    assert live_line(facts) == "recorded 1,000 slices, 20,000 rows to a\\x1b[2J.pghot"
    assert live_facts(facts) == {"schema": "pghot.record/1", **facts}
