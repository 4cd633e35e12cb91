"""The engine by worked examples: rounds, refusals, counters."""

from __future__ import annotations

import numpy as np
import pytest

from builders.engines import ABIT, PEBS, TRUTH, Seer
from pghot.engine.accesses import Accesses, no_accesses
from pghot.engine.engine import HotnessEngine, Promotions, total
from pghot.engine.settings import EngineSettings
from pghot.engine.store import Candidates, hottest_first

PAGES = 1000
LOWER = np.array([False, False, True])
ON_LOWER = np.full(PAGES, 2, np.uint8)
NO_ROOM = np.zeros(3, np.int64)


def make(store="precise", pages_per_s=10**6, **changes) -> HotnessEngine:
    values = {"pages": PAGES, "page_bytes": 4096, "nodes": 3, "top_nodes": (0, 1), "target_nid": 0}
    return HotnessEngine(EngineSettings(store, **{**values, "rate_limit_mb_s": pages_per_s / 256, **changes}))


def touch(engine, pages, now_ms, count=2, source=PEBS, node=0, place=ON_LOWER):
    pages = np.array(pages, np.uint32)
    size = len(pages)
    report = Accesses(pages, np.full(size, node, np.int16), np.full(size, count, np.uint32), now_ms)
    engine.record(source, report, place, LOWER)


def wake(engine, now_ms, max_pages=10**9) -> list[int]:
    return engine.wake(now_ms, NO_ROOM, NO_ROOM, NO_ROOM, max_pages).page.tolist()


def test_rounds_are_as_far_apart_as_the_consumer_sleeps():
    engine = make(sleep_ms=100)
    touch(engine, [1], 0)
    assert wake(engine, 40.9) == [1]  # the first call is a round
    touch(engine, [2], 100)
    assert wake(engine, 139.9) == []  # 139 - 40 = 99
    assert wake(engine, 140) == [2]
    touch(engine, [3], 150)
    assert wake(engine, 239) == []  # the empty call at 139 was no round
    assert wake(engine, 240) == [3]


def test_a_round_without_candidates_is_one_too():
    engine = make(sleep_ms=100)
    assert wake(engine, 0) == []
    touch(engine, [1], 10)
    assert wake(engine, 99) == []
    assert wake(engine, 100) == [1]


def test_missed_rounds_are_made_up_for_whole():
    engine = make("hashed", batch_nr=2, table_share=1.0, heap_share=1.0)  # sleeps 20 ms
    touch(engine, range(20), 0)
    # 1 round; 79 // 20 = 3 rounds; 41 // 20 = 2 rounds.
    assert [len(wake(engine, now)) for now in (0, 79, 120)] == [2, 6, 4]


def test_a_round_s_length_is_what_the_rate_limit_grants_for():
    engine = make(pages_per_s=3)
    touch(engine, range(20), 0)
    # One second's at first; then 2400 ms hold two whole seconds; then none until 1000 ms after that.
    assert [len(wake(engine, now)) for now in (0, 2400, 3300, 3400)] == [3, 6, 0, 3]


def test_refused_pages_wait_on_and_old_ones_are_history():
    engine = make(pages_per_s=1, window_ms=1000)
    touch(engine, [1, 2], 0)
    assert wake(engine, 0) == [1]
    assert wake(engine, 999) == []  # limited: 999 - 0 < 1000; page 2 waits
    assert wake(engine, 1099) == []  # now 1099 ms old: too old, no longer waiting
    touch(engine, [3], 1100)
    assert wake(engine, 1200) == [3]
    assert wake(engine, 2300) == []
    counters = engine.counters
    assert counters["pgpromote_candidate"] == 2
    assert counters["pgpromote_rate_limited"] == 2  # page 2 at 0 and at 999
    assert counters["kpromoted_cold_old"] == 1
    assert counters["kpromoted_dropped"] == 0


def test_published_refused_old_and_unmoved_pages_are_dropped_and_counted():
    engine = make(pages_per_s=2, window_ms=1000, faithful=frozenset({"consumed-before-gate"}))
    touch(engine, [9], 0)
    touch(engine, [1, 2, 3], 500)
    moved = engine.wake(1000, NO_ROOM, NO_ROOM, NO_ROOM, 10)
    assert moved.page.tolist() == [1, 2]
    assert engine.counters["kpromoted_dropped"] == 2  # 9 too old, 3 limited
    engine.requeue(Promotions(moved.page[1:], moved.node[1:]))
    assert engine.counters["kpromoted_dropped"] == 3
    assert wake(engine, 3000) == []


def test_published_pages_beyond_max_pages_wait_on():
    engine = make(faithful=frozenset({"consumed-before-gate"}))
    touch(engine, [1, 2, 3], 0)
    assert wake(engine, 0, max_pages=2) == [1, 2]
    assert wake(engine, 100) == [3]
    assert engine.counters["kpromoted_dropped"] == 0


def test_only_what_failed_is_requeued_with_its_frequency():
    engine = make()
    touch(engine, [1, 2], 0, count=5)
    moved = engine.wake(0, NO_ROOM, NO_ROOM, NO_ROOM, 10)
    engine.requeue(Promotions(moved.page[:0], moved.node[:0]))
    assert wake(engine, 100) == []
    touch(engine, [3], 100)
    moved = engine.wake(200, NO_ROOM, NO_ROOM, NO_ROOM, 10)
    engine.requeue(moved)
    touch(engine, [1], 210, count=1)
    assert wake(engine, 300) == [3]


def test_each_access_is_recorded_dropped_or_ignored():
    engine = make("hashed", table_share=0.002, heap_share=1.0)  # two records
    place = ON_LOWER.copy()
    place[5] = 1
    touch(engine, [1, 2, 3, 5], 0, count=3, source=ABIT, place=place)
    touch(engine, [1], 1, count=4, source=TRUTH)
    found = engine.counters
    assert found["pghot_reported_accesses"] == 16  # 4 * 3 + 4
    assert found["pghot_recorded_accesses"] == 10  # pages 1 and 2, and 1 again
    assert found["pghot_dropped_accesses"] == 3  # page 3 found the table full
    assert found["pghot_ignored_accesses"] == 3  # page 5 is on top
    assert found["pghot_recorded_pgtscans"] == 6  # truth is no mechanism
    assert found["pghot_recorded_hwhints"] == 0


@pytest.mark.parametrize(
    "kind, mechanism",
    [
        ("pghot_recorded_hintfaults", "hint fault"),
        ("pghot_recorded_hwhints", "hardware"),
        ("pghot_recorded_pgtscans", "page-table scan"),
    ],
)
def test_the_kernel_s_counter_of_each_mechanism(kind, mechanism):
    engine = make()
    touch(engine, [1], 0, count=3, source=Seer("any", mechanism))
    kinds = ("pghot_recorded_hintfaults", "pghot_recorded_hwhints", "pghot_recorded_pgtscans")
    assert {each: engine.counters[each] for each in kinds} == {**dict.fromkeys(kinds, 0), kind: 3}


def test_an_empty_report_and_a_switched_off_source_change_nothing():
    engine = make()
    before = engine.counters
    engine.record(PEBS, no_accesses(5), ON_LOWER, LOWER)
    engine.disable("pebs")
    touch(engine, [1], 0)
    assert engine.counters == before
    engine.enable("pebs")
    touch(engine, [1], 0)
    assert engine.counters["pghot_recorded_hwhints"] == 2


def test_sources_are_those_of_the_settings_until_switched():
    chosen = make(enabled_sources=frozenset({"abit"}))
    assert [chosen.enabled(source) for source in ("abit", "pebs")] == [True, False]
    assert make().enabled("pebs")
    chosen.enable("pebs")
    chosen.disable("abit")
    assert [chosen.enabled(source) for source in ("abit", "pebs")] == [False, True]


def test_the_total_is_wider_than_its_terms():
    assert total(np.array([2**32 - 1, 2**32 - 1, 5], np.uint32)) == 8_589_934_595


def test_bytes_a_page():
    # 1000 records of 4 bytes, two section flags.
    assert make().bytes_total() == 4002
    assert make().bytes_per_page() == pytest.approx(4.002)


def test_hottest_first_then_youngest_in_steps_of_2_ms_then_as_they_came():
    ages = np.array([13, 12, 10, 11, 100, 90_000, 16_382, 16_381])
    pages = np.arange(8, dtype=np.uint32)
    found = Candidates(pages, np.zeros(8, np.int16), ages, pages)
    # 12 and 13 are one step, 10 and 11 another; from 16382 ms on all are alike; page 4 is hotter.
    frequency = np.array([2, 2, 2, 2, 7, 2, 2, 2], np.uint8)
    assert hottest_first(found, frequency).page.tolist() == [4, 2, 3, 0, 1, 7, 5, 6]


def test_a_selection_keeps_the_four_columns_together():
    found = Candidates(
        np.array([1, 2], np.uint32), np.array([3, 4], np.int16), np.array([5, 6]), np.array([7, 8], np.uint32)
    )
    second = found.select(np.array([False, True]))
    assert [second.page[0], second.node[0], second.age_ms[0], second.record[0]] == [2, 4, 6, 8]
    assert len(second) == 1
