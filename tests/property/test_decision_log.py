"""The log of decisions: its kernels against a list of events, and its moves and refusals against what really was."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders.small_bed import STEPS, SmallBed, Step, played
from pghot.arrays import NOWHERE
from pghot.decision_log import episode_log
from pghot.engine.accesses import Accesses
from pghot.lab.decision_log.run_log import RunLog
from pghot.policies.decisions import HeldBack, Moved
from pghot.sim.policies import POLICIES
from references.lab.decision_log import Event, rows_reference

MOVERS = [name for name in POLICIES.names() if POLICIES.get(name).kind == "mover"]
FOUR = 4
RANK = [0, 1, 1]


class FourPages:
    """As much of a machine as the log looks at."""

    pages, group_pages = FOUR, 1.0
    rank = np.array(RANK)
    now_ns = 0.0


batches = st.lists(st.integers(0, FOUR - 1), max_size=6)
distinct = st.lists(st.integers(0, FOUR - 1), max_size=FOUR, unique=True)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("used"), batches, st.integers(1, 9), st.integers(0, 9)),
        st.tuples(st.just("seen"), batches, st.integers(0, 1), st.integers(1, 5)),
        st.tuples(st.just("held"), batches, st.sampled_from(HeldBack)),
        st.tuples(st.just("asked"), distinct, st.sampled_from(Moved)),
        st.tuples(st.just("moved"), distinct, st.integers(0, 2), st.sampled_from([0, 1, 2, None])),
        st.tuples(st.just("placed"), distinct, st.integers(0, 2)),
    ),
    max_size=30,
)


def tell(log: RunLog, step: tuple[Any, ...], now_ms: int) -> list[tuple[int, Event]]:
    """Tell the log of a step; returns the same as events of pages. Heat is the time, as far as policies tell it."""
    kind, pages, *said = step
    page = np.array(pages, np.uint32)
    many = np.ones(len(page), np.uint32)
    if kind == "used":
        log.used(page, many * np.uint32(said[0]), many * np.uint32(said[1]))
        return [(p, ("used", *said)) for p in pages]
    if kind == "seen":
        counts = many * np.uint32(said[1])
        log.sighted(said[0], Accesses(page, np.zeros(len(page), np.int16), counts, now_ms))
        return [(p, ("seen", said[0], said[1], now_ms)) for p in pages]
    if kind == "held":
        log.hold(page, said[0])
        return [(p, ("held", said[0].value, p + now_ms, now_ms)) for p in pages]
    if kind == "asked":
        log.move(page, said[0])
        return [(p, ("asked", said[0].value, p + now_ms)) for p in pages]
    if kind == "placed":
        log.placed(page, np.full(len(page), said[0], np.uint8))
        return [(p, ("placed", said[0], now_ms)) for p in pages]
    source, target = np.full(len(page), said[0], np.uint8), said[1]
    if target is None:
        log.freed(page, source)
    else:
        log.moved(page, source, target, f"thread{target}")
    by = None if target is None else f"thread{target}"
    return [(p, ("moved", said[0], target, by, now_ms)) for p in pages]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps, st.sampled_from([2, 3, 64]))
def test_rows_are_those_of_the_list_of_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[tuple[Any, ...]], kept: int
) -> None:
    """However few rows are kept in memory. Each step is a millisecond later."""
    monkeypatch.setattr(episode_log, "ROWS", kept)
    machine: Any = FourPages()
    log = RunLog(
        tmp_path / "log.parquet",
        "demo",
        machine,
        sources=2,
        heat=lambda page: (page + int(machine.now_ns / 1e6)).astype(np.int32),
    )
    events: dict[int, list[Event]] = {page: [] for page in range(FOUR)}
    now_ms = 0
    for now_ms, step in enumerate(drawn):
        machine.now_ns = now_ms * 1e6
        for page, event in tell(log, step, now_ms):
            events[page].append(event)
    log.close({})
    found = pq.read_table(tmp_path / "log.parquet").to_pylist()
    for page, own in events.items():
        expected = [{"run": "demo", "page": page, **row} for row in rows_reference(own, RANK, 2, now_ms)]
        assert [row for row in found if row["page"] == page] == expected


@pytest.mark.parametrize("name", MOVERS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.integers(0, 6), st.integers(0, 4), st.sampled_from(["dram-cxl", "hbm-dram-cxl"]))
def test_moves_replayed_give_the_placement_and_every_refusal_is_there(
    tmp_path: Path,
    name: str,
    drawn: list[Step],
    on_top: int,
    room: int,
    tiers: str,
) -> None:
    """The log beside a run without one: the same moves, the same refusals for the same reasons, as often."""
    plain = SmallBed(name, on_top, room, group_pages=512.0, tiers=tiers)
    path = tmp_path / "log.parquet"
    bed = SmallBed(
        name,
        on_top,
        room,
        group_pages=512.0,
        tiers=tiers,
        listens=lambda machine: RunLog(path, name, machine, sources=1),
    )
    log = bed.world.decisions
    assert isinstance(log, RunLog)
    bed.machine.watcher = log
    place = bed.machine.place.copy()
    for _ in zip(played(plain, drawn), played(bed, drawn), strict=True):
        np.testing.assert_array_equal(plain.machine.place, bed.machine.place)
    log.close({})
    held: Counter[str] = Counter()
    moved: Counter[str] = Counter()
    for row in pq.read_table(path).to_pylist():
        if row["what"] in ("held", "rested"):
            held[row["why"]] += row["times"] * (512 if row["what"] == "held" else 1)
        elif row["what"] in ("promoted", "demoted", "moved"):
            assert place[row["page"]] == row["source"] != NOWHERE
            place[row["page"]] = row["target"]
            moved[row["what"]] += 1
    np.testing.assert_array_equal(place, bed.machine.place)
    ledger = plain.machine.ledger
    assert (moved["promoted"], moved["demoted"]) == (ledger.promoted, ledger.demoted)
    assert dict(held) == plain.world.decisions.held_back() == log.held_back()
