"""No sentence of a verdict contradicts another or the table: an independent reader takes each one apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.summary_rows import SETUP, summary_row
from pghot.lab.outcomes import SummaryRow
from pghot.lab.verdict import judge
from pghot.policies.decisions import HeldBack
from references.lab.verdict_checker import check_verdict

PAGES = SETUP.footprint_pages

# Near to 'none' and far from it: most rules turn at 2 %.
near = st.integers(940, 1060).map(lambda thousandths: thousandths / 1000)
far = st.floats(0.3, 4.0)
shares = st.none() | st.floats(0, 1)
movers = [
    "numab2/hintfaults",
    "pghot-default/abit",
    "pghot-hashed/pebs",
    "pghot-default/chmu",
    "hemem/pebs",
    "lru-bw",
]
others = [("all-fast", "baseline"), ("demotion", "baseline"), ("interleave", "static"), ("static-class", "static"),
          ("oracle-static", "oracle"), ("oracle-epoch", "oracle"), ("pghot-default/truth", "mover")]  # fmt: skip


@st.composite
def speedups(draw: st.DrawFn, seeds: int) -> list[float]:
    """Of each seed: all the same, close together or far apart."""
    centre, scatter = draw(near | far), draw(st.sampled_from([0.0, 0.002, 0.02, 0.2]))
    return [max(0.05, centre * (1 + scatter * draw(st.floats(-1, 1)))) for _ in range(seeds)]


@st.composite
def tables(draw: st.DrawFn) -> list[SummaryRow]:
    """The rows of a comparison under one or two access rules, with any figures."""
    seeds = draw(st.integers(1, 4))
    rows = []
    for access in draw(st.sampled_from([[None], [None], ["ro-cow"], ["ro-cow", "writable"]])):
        nothing: dict[str, Any] = {"access": access, "promotions": 0.0}
        if draw(st.integers(0, 9)) == 0:
            nothing["lost_pages"] = 2.0
        rows.append(summary_row("none", [1.0] * seeds, "baseline", **nothing))
        for label, kind in draw(st.lists(st.sampled_from(others), unique=True)):
            rows.append(summary_row(label, draw(speedups(seeds)), kind, access=access))
        labels = draw(st.lists(st.sampled_from(movers), unique=True))
        rows += [draw(mover(label, seeds, access)) for label in labels]
    return rows


@st.composite
def mover(draw: st.DrawFn, label: str, seeds: int, access: str | None) -> SummaryRow:
    dead = draw(st.integers(0, 9)) == 0
    return summary_row(
        label,
        None if dead else draw(speedups(seeds)),
        access=access,
        runs_on=draw(st.sampled_from(["kernel", "user space", "to come"])),
        held_back=draw(st.dictionaries(st.sampled_from([why.value for why in HeldBack]), st.integers(1, 99))),
        promotions=draw(st.sampled_from([0.0, 0.9, 1.0, 500.0])),
        pingpong=draw(st.sampled_from([0.0, 0.5, 400.0])),
        coverage=draw(shares),
        accuracy=draw(shares),
        tracking_app_share=draw(st.floats(0, 0.5)),
        moving_app_share=draw(st.floats(0, 0.5)),
        lost_pages=draw(st.sampled_from([None, None, 0.0, 3.0])) if access else None,
    )


@given(tables(), st.sampled_from([{}, {}, {}, {"slices": 1}, {"misses": 0}]))
@settings(max_examples=600, deadline=None)
def test_every_sentence_is_so(rows: list[SummaryRow], lack: dict[str, Any]) -> None:
    check_verdict(judge(rows, replace(SETUP, **lack)), rows, PAGES, lack=bool(lack))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("+20.0 %", "+20.1 %"),
        ("pays", "hurts"),
        ("more", "less"),
        ("60 %", "61 %"),
        ("hemem/pebs", "numab2/hintfaults"),
    ],
)
def test_the_reader_notices_a_sentence_that_is_not_so(old: str, new: str) -> None:
    """The mover takes 1/1.2 of the time, all-fast 1/1.385: 0.1667 of 0.2780 is 60 %."""
    rows = [
        summary_row("none", 1.0, "baseline", promotions=0),
        summary_row("all-fast", 1.385, "baseline"),
        summary_row("oracle-static", 1.1, "oracle"),
        summary_row("hemem/pebs", 1.2),
        summary_row("numab2/hintfaults", 1.0),
    ]
    verdict = judge(rows, SETUP)
    check_verdict(verdict, rows, PAGES)
    assert old in str(verdict)
    lie = replace(
        verdict,
        headline=verdict.headline.replace(old, new),
        notes=tuple(note.replace(old, new) for note in verdict.notes),
        classes=tuple(replace(each, finding=each.finding.replace(old, new)) for each in verdict.classes),
    )
    with pytest.raises(AssertionError):
        check_verdict(lie, rows, PAGES)
