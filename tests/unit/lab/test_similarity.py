"""What a recording stands for, worked by hand; slices cut and joined without a miss lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pghot
from builders.accesses import trace_from_accesses
from pghot.errors import UsageError
from pghot.lab.epochs import measure_epochs
from pghot.lab.schedule import Schedule
from pghot.lab.similarity import similarity
from pghot.lab.thinning import Joiner, Piece, cut_slice
from pghot.policies.granularity import Units
from pghot.recording.trace import SliceBatch, TraceInfo
from pghot.sim.machine.topology import load_topology

TIERS = load_topology("dram-cxl")  # 32 CPUs, 60 MiB of last-level cache
TWO_SOCKETS = load_topology("two-socket-cxl")
INFO = TraceInfo("mine", "qemu", 1_000_000, llc_bytes=1 << 20)
COLUMNS = ("touches", "misses", "sequential", "writes")


def test_the_recorded_cache_stands_for_the_machines() -> None:
    found = similarity(INFO, TIERS, footprint_pages=25_600)  # 100 MiB
    assert found.group_pages == 60.0
    assert found.footprint_bytes == 6000 << 20
    assert (found.threads, found.cache_bytes, found.warning()) == (32, 60 << 20, "")


def test_a_footprint_or_a_multiple_can_be_named_and_the_cache_is_told() -> None:
    found = similarity(INFO, TIERS, 25_600, stands_for=100 << 30)
    assert found.group_pages == 1024.0
    assert (
        "stands for 1.0 GiB, the tiers have 60.0 MiB: the real program misses more lines" in found.warning()
    )
    assert similarity(INFO, TIERS, 25_600, times=16).footprint_bytes == 1600 << 20
    assert "misses fewer lines" in similarity(INFO, TIERS, 25_600, times=16).warning()
    assert similarity(INFO, TIERS, 25_600, times=31).warning() == "", "within twice of 60 MiB"
    for wrong in ({"stands_for": 1 << 20}, {"times": 0.5}, {"times": float("nan")}):
        with pytest.raises(UsageError, match="cannot stand for"):
            similarity(INFO, TIERS, 25_600, **wrong)


def test_threads_are_the_cpus_of_the_nodes_that_it_ran_on() -> None:
    assert similarity(INFO, TWO_SOCKETS, 1).threads == 64
    assert similarity(replace(INFO, nodes=2), TWO_SOCKETS, 1).threads == 128
    assert similarity(INFO, TWO_SOCKETS, 1, threads=5).threads == 5


def test_a_live_recording_and_one_without_a_cache_stand_for_themselves() -> None:
    live = similarity(replace(INFO, source="pebs", threads=3), TIERS, 25_600)
    assert (live.group_pages, live.threads, live.measured) == (1.0, 3, True)
    assert similarity(replace(INFO, llc_bytes=0), TIERS, 25_600).group_pages == 1.0


# ---- cutting and joining


@st.composite
def slices(draw: st.DrawFn) -> SliceBatch:
    """Three slices of up to six pages on two nodes, with anything that a row can hold."""
    parts: list[list[tuple[int, ...]]] = []
    for _ in range(3):
        rows = []
        for page, node in sorted(draw(st.sets(st.tuples(st.integers(0, 5), st.integers(0, 1)), max_size=6))):
            touches = draw(st.one_of(st.integers(1, 9), st.integers(1, 3000)))
            misses = draw(st.integers(0, touches))
            row = (page, touches, misses, draw(st.integers(0, misses)), draw(st.integers(0, touches)), node)
            rows.append(row)
        parts.append(rows)
    table = np.array([row for rows in parts for row in rows], np.int64).reshape(-1, 6)
    columns = [table[:, i].astype(np.uint32) for i in range(5)]
    return SliceBatch(
        np.arange(3, dtype=np.uint64),
        np.array([7, 100, 1001], np.uint64),
        np.cumsum([0, *(len(rows) for rows in parts)]).astype(np.int64),
        *columns,
        node=table[:, 5].astype(np.int16),
    )


def totals(batch: SliceBatch, rows: slice) -> dict[Any, tuple[int, ...]]:
    """The sums of each page and node."""
    found: dict[Any, tuple[int, ...]] = {}
    for row in range(rows.start, rows.stop):
        key = int(batch.page[row]), int(batch.node[row])
        before = found.get(key, (0, 0, 0, 0))
        found[key] = tuple(
            a + int(getattr(batch, name)[row]) for a, name in zip(before, COLUMNS, strict=True)
        )
    return found


@given(slices(), st.integers(1, 40), st.integers(0, 1 << 40))
@settings(max_examples=100, deadline=None)
def test_cutting_keeps_every_column_of_every_page(batch: SliceBatch, parts: int, seed: int) -> None:
    for index in range(batch.slices):
        cut = cut_slice(batch, index, parts, seed)
        rows = slice(int(batch.offsets[index]), int(batch.offsets[index + 1]))
        assert totals(cut, slice(0, cut.rows)) == totals(batch, rows)
        assert cut.slices == parts
        assert cut.instructions.sum() == batch.instructions[index]
        assert (cut.misses <= cut.touches).all()
        assert (cut.sequential <= cut.misses).all()
        assert (cut.writes <= cut.touches).all()
        assert (cut.touches > 0).all()
        for part in range(parts):
            pages = cut.page[cut.offsets[part] : cut.offsets[part + 1]]
            assert (np.diff(pages.astype(int)) >= 0).all()


@given(slices())
@settings(max_examples=100, deadline=None)
def test_joining_keeps_every_column_of_every_page(batch: SliceBatch) -> None:
    joiner = Joiner(6, 2)
    for _ in range(2):  # the scratch space is clean afterwards
        joined = joiner.join([Piece(batch, 0, 1), Piece(batch, 1, 3)])
        assert totals(joined, slice(0, joined.rows)) == totals(batch, slice(0, batch.rows))
        assert joined.instructions.tolist() == [1108]
        order = list(zip(joined.page.tolist(), joined.node.tolist(), strict=True))
        assert order == sorted(set(order))


def test_a_walk_over_a_page_falls_into_one_part() -> None:
    """64 lines one after the other are one event; 64 lines at random are 64."""
    one = np.ones(1, np.uint32)
    walk = SliceBatch(
        np.zeros(1, np.uint64), np.array([64], np.uint64), np.array([0, 1]), one, 512 * one, 64 * one, 63 * one,
        0 * one, node=np.zeros(1, np.int16),
    )  # fmt: skip
    scattered = replace(walk, sequential=0 * one)
    for seed in range(20):
        assert cut_slice(walk, 0, 8, seed).misses.tolist() == [64]
        assert len(cut_slice(scattered, 0, 8, seed).misses) == 8


def test_events_are_dealt_out_evenly() -> None:
    """1000 misses in 4 parts: 250 each, within five standard deviations of a binomial (13.7)."""
    one = np.ones(1, np.uint32)
    batch = SliceBatch(
        np.zeros(1, np.uint64), np.array([4], np.uint64), np.array([0, 1]), one, 1000 * one, 1000 * one, 0 * one,
        500 * one, node=np.zeros(1, np.int16),
    )  # fmt: skip
    dealt = np.array([cut_slice(batch, 0, 4, seed).misses for seed in range(50)], float)
    assert abs(dealt - 250).max() < 5 * 13.7
    assert dealt.std() == pytest.approx(13.7, rel=0.2)
    assert dealt.mean(0) == pytest.approx([250] * 4, abs=5 * 13.7 / 50**0.5)


# ---- the schedule


def schedule(kernel_ms: list[float], epoch_slices: int = 4, **changes: Any) -> Schedule:
    pages = np.tile(np.arange(10, dtype=np.uint32), len(kernel_ms))
    table = measure_epochs(trace_from_accesses(pages, accesses_per_slice=10), epoch_slices)
    options = {"slice_ms": 50.0, "duration_s": None, "seed": 0, "nodes": (0,), **changes}
    return Schedule(table, np.array(kernel_ms), **options)


def test_long_slices_are_cut_and_short_ones_joined_within_their_epoch() -> None:
    found = schedule([10, 20, 30, 10, 10, 10, 120, 10])
    # 10 + 20 fit in 50 ms, 30 + 10 do; the epoch ends; 10 + 10; 120 in three parts; 10.
    played = [(step.epoch, step.batch.slices, int(step.batch.touches.sum())) for step in found.steps()]
    assert played == [(0, 1, 20), (0, 1, 20), (1, 1, 20), (1, 3, 10), (1, 1, 10)]
    assert (found.cut, found.joined, found.slices) == (1, 6, 7)
    assert [(step.begins, step.ends) for step in found.steps()] == [
        (True, False), (False, True), (True, False), (False, False), (False, True),
    ]  # fmt: skip


def test_passes_follow_from_the_duration_and_the_last_may_be_a_part() -> None:
    found = schedule([50.0] * 8, duration_s=1.0)  # a pass of 0.4 s with two epochs
    assert (found.pass_s, found.passes, found.epochs) == (0.4, 2.5, 5)
    assert [step.epoch for step in found.steps() if step.begins] == [0, 1, 2, 3, 4]
    assert schedule([50.0] * 8, duration_s=0.1).epochs == 1


def test_a_pass_that_does_not_fit_in_memory_is_cut_anew_and_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(of: Schedule) -> list[Any]:
        return [(step.epoch, step.batch.page.tolist(), step.batch.offsets.tolist()) for step in of.steps()]

    ms = [10.0, 120.0, 30.0, 10.0, 200.0]
    one = schedule(ms, duration_s=0.9)
    kept, next_ = rows(one), [batch.page.tolist() for batch in one.slices_of(1)]
    monkeypatch.setattr("pghot.lab.schedule.RESIDENT_ROWS", 1)
    other = schedule(ms, duration_s=0.9)
    assert rows(other) == kept
    assert [batch.page.tolist() for batch in other.slices_of(1)] == next_
    assert (other.cut, other.joined, other.slices) == (one.cut, one.joined, one.slices) == (2, 2, 9)


def test_what_is_not_played_is_counted_but_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of two epochs: a slice of it in three parts; three of the other would be in 4 + 5 + 6."""
    cut: list[int] = []

    def noted(batch: SliceBatch, index: int, parts: int, seed: int) -> SliceBatch:
        cut.append(parts)
        return cut_slice(batch, index, parts, seed)

    monkeypatch.setattr("pghot.lab.schedule.cut_slice", noted)
    ms = [120.0, 50.0, 50.0, 50.0, 200.0, 250.0, 300.0, 50.0]
    found = schedule(ms, duration_s=0.2)
    assert [step.epoch for step in found.steps()] == [0, 0, 0, 0]
    assert [found.slices_of(number) for number in (1, 2)] == [[], []]
    assert cut == [3]
    assert (found.cut, found.joined, found.slices) == (4, 0, 6 + 15 + 1)


def test_rows_come_from_the_nodes_that_have_cpus() -> None:
    assert {int(node) for step in schedule([50.0], nodes=(2,)).steps() for node in step.batch.node} == {2}


# ---- units of 2 MiB


@given(st.integers(1, 3000), st.floats(1, 2000))
def test_every_page_has_one_unit_and_every_unit_its_pages(pages: int, group: float) -> None:
    units = Units(pages, 4096, group, 2 << 20)
    of = units.of(np.arange(pages, dtype=np.uint32)).astype(int)
    assert of.tolist() == sorted(of)
    assert of[-1] == units.count - 1
    for unit in {0, units.count // 2, units.count - 1}:
        assert units.pages_of(np.array([unit])).tolist() == np.flatnonzero(of == unit).tolist()
    every = units.pages_of(np.arange(units.count))
    assert every.tolist() == list(range(pages))


def test_units_take_as_many_neighbours_as_2_mib_have() -> None:
    assert Units(1024, 4096, 1.0, 2 << 20).count == 2
    assert Units(1024, 4096, 100.0, 2 << 20).count == 200  # 5.12 pages each
    assert Units(1024, 4096, 512.0, 2 << 20).count == Units(1024, 4096, 9999.0, 2 << 20).count == 1024


# ---- what is shown is real


def test_figures_are_those_of_the_real_system() -> None:
    page = np.tile(np.arange(100, dtype=np.uint32), 60)
    options: dict[str, Any] = {"policies": ["all-slow"], "threads": 1, "duration_s": None, "seeds": 1}
    one, many = (
        pghot.compare(trace_from_accesses(page, accesses_per_slice=100), times=times, **options)
        for times in (1, 8)
    )
    slow, slower = (result.rows[-1].figures for result in (one, many))
    assert slower.time_s == pytest.approx(8 * slow.time_s)
    assert many.setup.footprint_pages == 8 * one.setup.footprint_pages == 800
    assert many.setup.misses == 8 * one.setup.misses
    assert many.setup.nodes[0].capacity_pages == 8 * one.setup.nodes[0].capacity_pages == 160
