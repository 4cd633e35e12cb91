"""The lab: comparisons, their setup and tables, measures worked by hand."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pghot
from builders.accesses import trace_from_accesses
from pghot.errors import UsageError
from pghot.lab.bench import Bench
from pghot.lab.capacity import size_nodes
from pghot.lab.compare import plan_runs
from pghot.lab.epochs import Epoch, add_misses, measure_epochs, take_misses
from pghot.lab.measures import Measures, Responses, count_on_top, note_promoted, turn_hot
from pghot.lab.metrics import METRICS, Figures, mean_and_interval
from pghot.lab.run_spec import RunSpec
from pghot.lab.setting import Setting
from pghot.recording.trace import MemoryTrace, SliceBatch, TraceInfo
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import load_topology
from references.lab.epochs import add_misses_reference, take_misses_reference
from references.lab.measures import (
    count_on_top_reference,
    note_promoted_reference,
    turn_hot_reference,
)

TIERS = load_topology("dram-cxl")


def trace(seed: int = 0, pages: int = 2_000, accesses: int = 60_000) -> MemoryTrace:
    page = np.random.default_rng(seed).zipf(1.3, accesses) % pages
    return trace_from_accesses(page.astype(np.uint32), accesses_per_slice=1_000)


# ---- epochs and the truth


@given(st.integers(0, 2**32 - 1))
def test_epoch_kernels_equal_their_references(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts, plain = (np.zeros(9, np.int64) for _ in range(2))
    seen, plain_seen = (np.zeros(9, np.uint8) for _ in range(2))
    found, plain_found = (np.zeros(9, np.uint32) for _ in range(2))
    total, plain_total = (np.zeros(9, np.int64) for _ in range(2))
    length = plain_length = 0
    for _ in range(3):
        page = rng.integers(0, 9, 7).astype(np.uint32)
        misses = rng.integers(0, 3, 7).astype(np.uint32)
        length = add_misses(counts, seen, found, length, page, misses)
        plain_length = add_misses_reference(plain, plain_seen, plain_found, plain_length, page, misses)
    assert length == plain_length
    for ours, reference in ((counts, plain), (seen, plain_seen), (found, plain_found)):
        np.testing.assert_array_equal(ours, reference)
    touched = np.sort(found[:length])
    taken, plain_taken = np.empty(length, np.int64), np.empty(length, np.int64)
    take_misses(counts, touched, taken, total)
    take_misses_reference(plain, touched, plain_taken, plain_total)
    np.testing.assert_array_equal(taken, plain_taken)
    np.testing.assert_array_equal(total, plain_total)
    assert not counts.any()


@given(st.dictionaries(st.integers(0, 50), st.integers(1, 5), max_size=20), st.integers(0, 20))
def test_the_hot_set_is_the_fewest_pages_with_nine_tenths(misses: dict[int, int], capacity: int) -> None:
    pages = sorted(misses)
    hot = Epoch(np.array(pages, np.uint32), np.array([misses[p] for p in pages], np.int64)).hot(capacity)
    chosen: list[int] = []
    for page in sorted(pages, key=lambda p: (-misses[p], p)):
        if len(chosen) == capacity or sum(misses[p] for p in chosen) >= 0.9 * sum(misses.values()):
            break
        chosen.append(page)
    assert sorted(hot.tolist()) == sorted(chosen)


def test_an_epoch_may_have_more_misses_of_a_page_than_32_bits_hold() -> None:
    """Two slices with 3,000,000,000 misses of page 1 each: 6,000,000,000 in their epoch, and page 0 is not hot."""
    misses = np.array([7, 3_000_000_000, 7, 3_000_000_000], np.uint32)
    batch = SliceBatch(
        start_ns=np.arange(2, dtype=np.uint64),
        instructions=np.ones(2, np.uint64),
        offsets=np.array([0, 2, 4], np.int64),
        page=np.array([0, 1, 0, 1], np.uint32),
        touches=misses,
        misses=misses,
        sequential=np.zeros(4, np.uint32),
        writes=np.zeros(4, np.uint32),
        node=np.zeros(4, np.int16),
    )
    table = measure_epochs(MemoryTrace(TraceInfo("big", "test", 1), 2, (), [batch]), epoch_slices=2)
    (epoch,) = table.epochs
    assert epoch.misses.tolist() == table.total.tolist() == [14, 6_000_000_000]
    assert epoch.hot(1).tolist() == [1]


def test_epochs_cover_the_trace() -> None:
    table = measure_epochs(trace(), epoch_slices=7)
    assert (table.slices, len(table.epochs)) == (60, 9)
    assert table.touches == table.total.sum() == sum(int(e.misses.sum()) for e in table.epochs) == 60_000
    assert table.footprint_pages == np.count_nonzero(table.total)


# ---- measures


@given(st.integers(0, 2**32 - 1))
def test_waits_end_as_in_the_plain_form(seed: int) -> None:
    rng = np.random.default_rng(seed)
    promoted = rng.permutation(9)[: rng.integers(0, 10)].astype(np.uint32)
    since = np.where(rng.random(9) < 0.5, np.nan, rng.integers(0, 100, 9))
    hot = rng.random(9) < 0.5
    results = []
    for note in (note_promoted, note_promoted_reference):
        left, waited = since.copy(), np.zeros(len(promoted))
        counts = note(promoted, left, hot, 100.0, waited)
        results.append([counts, waited[: counts[0]].tolist(), np.nan_to_num(left, nan=-1.0).tolist()])
    assert results[0] == results[1]


@given(st.integers(0, 2**32 - 1))
def test_epochs_begin_and_end_as_in_the_plain_form(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before, hot, earlier = (rng.permutation(9)[: rng.integers(0, 10)].astype(np.uint32) for _ in range(3))
    was_hot = np.zeros(9, np.bool_)
    was_hot[before] = True
    place, lower = rng.choice(np.array([0, 1, 2, 255], np.uint8), 9), np.array([False, True, True])
    since = np.full(9, np.nan)
    since[before] = np.where(rng.random(len(before)) < 0.5, np.nan, 5.0)
    results = []
    for turn, count in ((turn_hot, count_on_top), (turn_hot_reference, count_on_top_reference)):
        left, now_hot = since.copy(), np.zeros(9, np.bool_)
        now_hot[earlier] = True
        cooled = turn(hot, before, earlier, now_hot, was_hot, place, lower, 100.0, left)
        turned = np.nan_to_num(left, nan=-1.0).tolist()
        counts = count(hot, place, lower, left)
        assert sorted(np.flatnonzero(now_hot)) == sorted(hot)
        results.append([cooled, turned, now_hot.tolist(), counts, np.nan_to_num(left, nan=-1.0).tolist()])
    assert results[0] == results[1]


def measured() -> tuple[SimulatedMachine, Measures]:
    machine = SimulatedMachine(TIERS, 10, 4096, np.array([10, 20]), 1)
    machine.place[:] = 1
    machine.free_pages[1] -= 10
    return machine, Measures(machine)


def promote(machine: SimulatedMachine, measures: Measures, pages: list[int], at_ns: float) -> None:
    machine.now_ns = at_ns
    machine.migrate(np.array(pages, np.uint32), 0, "kmigrated")
    measures.end_slice()


def test_coverage_accuracy_and_waits_by_hand() -> None:
    machine, measures = measured()
    first, second = np.array([1, 2, 3, 4], np.uint32), np.array([4, 5], np.uint32)
    measures.begin_epoch(first)
    promote(machine, measures, [1], 100.0)  # hot, waited 100
    promote(machine, measures, [2, 5], 300.0)  # 2 waited 300; 5 is hot in the next epoch
    measures.end_epoch(first)
    measures.begin_epoch(second)  # 3 cooled down unpromoted; 4 still waits; 5 turns hot on top
    promote(machine, measures, [9], 400.0)  # never hot
    promote(machine, measures, [4], 1000.0)
    measures.end_epoch(second)
    measures.finish()
    assert [sample.coverage for sample in measures.samples] == [0.5, 1.0]
    assert measures.samples[-1].promoted == 5
    assert measures.samples[-1].promoted_hot == 4, "all but page 9"
    assert np.concatenate(measures.responses.waited_ns).tolist() == [100.0, 300.0, 1000.0]
    assert measures.responses.never == 1
    assert measures.responses.percentile_ns(0.5) == 300.0
    assert measures.responses.percentile_ns(0.75) == 1000.0
    assert measures.responses.percentile_ns(0.95) is None, "one in four never was"
    assert measures.responses.promoted_share() == 0.75
    assert Responses().percentile_ns(0.5) is None


def test_pingpong_counts_promotions_that_repeat() -> None:
    machine, _ = measured()
    pages = np.array([1, 2], np.uint32)
    machine.migrate(pages, 0, "kmigrated")
    machine.demote(pages[:1], 0, "kswapd0")
    machine.migrate(pages, 0, "kmigrated")
    assert (machine.ledger.promoted, machine.ledger.demoted, machine.ledger.pingpong) == (3, 1, 1)
    assert machine.ledger.exchanged_bytes == 4 * 4096


def test_mean_and_interval() -> None:
    assert mean_and_interval([2.0]) == (2.0, None)
    mean, half = mean_and_interval([1.0, 2.0, 3.0])
    assert (mean, half) == (2.0, pytest.approx(4.303 / 3**0.5))
    assert mean_and_interval([1.0, None]) == (None, None)


# ---- capacities


def test_the_fast_share_is_the_top_tiers_and_the_lowest_holds_the_rest() -> None:
    capacity = size_nodes(TIERS, 10_000, 4096, 0.2)
    assert capacity[0] == 2_000
    assert capacity[1] >= 11_000
    for share in (0.0, 1.0):
        with pytest.raises(UsageError, match="leaves nothing to decide"):
            size_nodes(TIERS, 10_000, 4096, share)


def test_as_file_keeps_the_sizes_of_the_file_and_refuses_a_larger_program() -> None:
    dram, cxl = (node.capacity for node in TIERS.nodes)
    held = [dram // 4096_000, cxl // 4096_000]
    assert size_nodes(TIERS, sum(held), 4096_000, None).tolist() == held
    with pytest.raises(UsageError, match=r"do not fit the tiers as they are: they have 640\.0 GiB"):
        size_nodes(TIERS, sum(held) + 1, 4096_000, None)


@pytest.mark.parametrize(
    "wrong",
    [{"duration_s": 0.0}, {"slice_ms": 0.0}, {"times": 2.0, "stands_for": 2.0}, {"seeds": 0}, {"seeds": 10**9},
     {"warmup": 1.0}, {"threads": 0}, {"mlp": float("inf")},
     {"placement": "fast"}],
)  # fmt: skip
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Setting(**wrong)


# ---- compare


def test_baselines_are_always_there_and_sources_multiply_policies() -> None:
    labels = [spec.label for spec in plan_runs(["numab2", "pghot-default"], ["abit", "abit+pebs"])]
    assert labels == [
        "none",
        "all-fast",
        "numab2/hintfaults",
        "pghot-default/abit",
        "pghot-default/abit+pebs",
    ]
    with pytest.raises(UsageError) as caught:
        plan_runs(["pghot-default"], ["abitt"])
    assert "abit" in caught.value.hint


def test_runs_side_by_side_equal_runs_alone() -> None:
    specs = [RunSpec("numab2", ("hintfaults",)), RunSpec("pghot-precise", ("abit",)), RunSpec("oracle-epoch")]
    setting = Setting(times=50.0, threads=1, duration_s=None)

    def rows(chosen: list[RunSpec]) -> list[dict[str, Any]]:
        return [run.to_dict() for run in Bench(trace(), TIERS, setting, 0).play(chosen, lambda part: None)]

    assert rows(specs) == [rows([spec])[0] for spec in specs]


def test_a_gain_is_split_into_what_demotion_brings_what_a_fixed_placement_and_what_moving() -> None:
    played = {"times": 50.0, "duration_s": None, "seeds": 1}
    result = pghot.compare(trace(), policies=["numab2", "demotion", "oracle-static"], **played)
    of = {row.label: row.figures for row in result.rows}
    for base, ratio in (("demotion", "over_demotion"), ("oracle-static", "over_fixed")):
        assert getattr(of[base], ratio) == 1.0
        assert getattr(of["none"], ratio) == pytest.approx(1 / of[base].speedup)
        assert getattr(of["numab2/hintfaults"], ratio) == pytest.approx(
            of[base].steady_time_s / of["numab2/hintfaults"].steady_time_s
        )
    alone = pghot.compare(trace(), policies=["numab2"], **played)
    assert {(row.figures.over_demotion, row.figures.over_fixed) for row in alone.rows} == {(None, None)}


def test_a_comparison_is_json_and_arrow() -> None:
    result = pghot.compare(trace(), policies=["numab2", "lru-bw"], seeds=2, times=50.0, duration_s=None)
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain["schema"] == "pghot.compare/1"
    assert plain["simulated"] is True
    assert len(plain["runs"]) == 2 * len(plain["summary"]) == 8
    assert {m.name for m in METRICS} <= set(result.summary.column_names)
    assert result.timeline.num_rows == 8 * result.setup.epochs
    assert list(result.to_pandas()["label"]) == result.summary["label"].to_pylist()
    assert {field.name for field in fields(Figures)} == {m.name for m in METRICS}, "each is declared"
    none = plain["summary"][0]
    assert (none["policy"], none["speedup"], none["speedup_ci95"]) == ("none", 1.0, 0.0)


def test_passes_warmup_and_folios_are_in_the_setup() -> None:
    once = pghot.compare(trace(), policies=["none"], warmup=0.5, duration_s=None, seeds=1)
    twice = pghot.compare(trace(), policies=["none"], duration_s=2 * once.setup.timing.pass_s, seeds=1)
    assert (once.setup.timing.passes, twice.setup.timing.passes) == (1, 2)
    assert twice.setup.touches == 2 * once.setup.touches
    assert once.setup.warmup_epochs == once.setup.epochs // 2
    assert twice.setup.warmup_epochs == round(twice.setup.epochs / 3)
    huge = pghot.compare(
        trace(pages=20_000), policies=["none"], page_bytes=2 << 20, fast_share=0.5, duration_s=None
    )
    assert huge.setup.page_bytes == 2 << 20
    assert huge.setup.footprint_pages == 40


def test_the_bounds_are_a_page_cache_over_the_misses() -> None:
    recording = trace()
    found = pghot.compare(recording, policies=["none"], bounds=True, duration_s=None).bounds[0]
    cache: OrderedDict[int, None] = OrderedDict()
    missed = requests = 0
    for batch in recording.batches():
        for page, misses in zip(batch.page.tolist(), batch.misses.tolist(), strict=True):
            requests += misses
            if page not in cache:
                missed += 1
                if len(cache) == found.capacity_pages:
                    cache.popitem(last=False)
            cache[page] = None
            cache.move_to_end(page)
    assert (found.lru_misses, found.requests) == (missed, requests)


def test_placements() -> None:
    shares = {
        placement: pghot.compare(trace(), policies=["none"], placement=placement, duration_s=None, seeds=1)
        .summary["fast_miss_share"][0]
        .as_py()
        for placement in ("first-touch", "slow", "interleave", "bind:cxl")
    }
    assert shares["slow"] == shares["bind:cxl"] == 0.0
    assert shares["first-touch"] > 0
    assert shares["interleave"] > 0
    for wrong, said in (("bind:dram", "too small"), ("bind:foo", "unknown node")):
        with pytest.raises(UsageError, match=said):
            pghot.compare(trace(), policies=["none"], placement=wrong)


def test_a_trace_without_slices_is_refused() -> None:
    empty = trace_from_accesses(np.empty(0, np.uint32))
    with pytest.raises(UsageError, match="no slices"):
        pghot.compare(empty, policies=["none"])
