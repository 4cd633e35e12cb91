"""The words of a chain: every kind of row, and why a page was never decided on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from builders.small_bed import SmallBed
from pghot.decision_log.reading import RunRows
from pghot.decision_log.row_format import COLUMNS, What
from pghot.lab.run_spec import RunSpec
from pghot.policies.decisions import HeldBack
from pghot.report.chain_text import REFUSED, chain

NODES, TOP = ["dram", "cxl"], [True, False]
FACTS = {
    "label": "pghot-default/hintfaults",
    "policy": "pghot-default",
    "kind": "mover",
    "sources": ["hintfaults"],
    "hot_from": 2,
    "lasts_ms": 30_000,
}


def row(what: What, first_ms: int, last_ms: int | None = None, **said: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys(COLUMNS.names),
        "run": "demo",
        "page": 7,
        "times": 1,
        "touches": 0,
        "misses": 0,
        "seen": [0],
        "what": what.value,
        "first_ms": first_ms,
        "last_ms": first_ms if last_ms is None else last_ms,
        **said,
    }


def words(*rows: dict[str, Any], rests: tuple[dict[str, Any], ...] = (), **facts: Any) -> list[str]:
    run = RunRows({**FACTS, **facts}, pa.Table.from_pylist(list(rows), COLUMNS), rests)
    return [line.strip() for line in chain(run, NODES, TOP)]


def test_from_accesses_to_a_move() -> None:
    assert words(
        row(What.PLACED, 400, target=1),
        row(What.HELD, 500, 12_400, why="threshold", times=14, touches=88, misses=12, seen=[3], heat=1),
        row(What.HELD, 12_500, why="free space", touches=1, seen=[1], heat=2),
        row(What.PROMOTED, 13_100, why="hot", heat=2, source=1, target=0, by="kmigrated"),
        row(What.DEMOTED, 20_000, touches=5, misses=1, source=0, target=1, by="kswapd0"),
        row(What.UNDECIDED, 30_000, touches=2),
    ) == [
        "0.40 s  placed on cxl when it was first touched",
        "0.50 to 12.40 s  88 touches, 12 misses; hintfaults saw 3 accesses; counted 1, hot from 2; "
        "below the threshold: no candidate (14 times)",
        "12.50 s  1 touch; hintfaults saw 1 access; counted 2, hot from 2; "
        "a candidate, refused: no room in the top tier",
        "13.10 s  not touched; no source saw it; counted 2, hot from 2; "
        "a candidate: promoted from cxl to dram by kmigrated",
        "20.00 s  5 touches, 1 miss; no source saw it; demoted from dram to cxl by kswapd0, which made room",
        "30.00 s  2 touches; no source saw it; no decision up to the end",
    ]


def test_every_reason_has_words() -> None:
    assert set(REFUSED) == set(HeldBack)


@pytest.mark.parametrize(
    ("said", "facts", "why"),
    [
        ({"target": 0}, {}, "it was on dram from the start, in the top tier"),
        ({"target": 1}, {}, "hintfaults never saw it (nothing seen in 9 rounds)"),
        (
            {"target": 1},
            {"kind": "static", "policy": "interleave"},
            "interleave moves nothing by what it hears",
        ),
    ],
)
def test_why_nothing_was_decided(said: dict[str, Any], facts: dict[str, Any], why: str) -> None:
    rested = ({"why": "nothing seen", "times": 9},)
    *_, last = words(row(What.PLACED, 0, **said), row(What.UNDECIDED, 9, touches=1), rests=rested, **facts)
    assert last == f"never decided on: {why}"


def test_seen_but_no_round_came_to_it() -> None:
    *_, last = words(row(What.PLACED, 0, target=1), row(What.UNDECIDED, 9, touches=1, seen=[4]))
    assert last == "never decided on: it was seen, but no round came to it"
    assert words() == ["never decided on: the program did not touch it in the replay"]


def test_hemem_says_what_it_counted() -> None:
    """Samples of the unit of 2 MiB; here each page is a unit, and 8 samples make it hot."""

    bed = SmallBed("hemem", group_pages=512.0)
    bed.see(5, {4: 3, 5: 9})
    heat = bed.policy.heat(np.array([4, 5, 6], np.uint32))  # type: ignore[attr-defined]
    assert heat.tolist() == [3, 9, 0]
    assert RunSpec("hemem", ("pebs",)).facts("hemem/pebs")["hot_from"] == 8
    assert RunSpec("pghot-default-f1", ("pebs",)).facts("f1")["hot_from"] == 1
    given = RunSpec("pghot-default", ("pebs",), {"freq_threshold": 3})
    assert given.facts("given")["hot_from"] == 3
