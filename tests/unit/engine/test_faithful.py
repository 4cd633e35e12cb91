"""Each quirk of the published versions: there when asked for, absent by default."""

from __future__ import annotations

import numpy as np
import pytest

from builders.engines import make_engine, touch, wake
from pghot.engine.settings import ALL_STORES, FAITHFUL, faithful_options

HOUR_MS = 3_600_000
ONE_PAGE_A_SECOND = 4096 / 2**20


def with_and_without(quirk: str, store: str, **changes):
    """The engine as published and ours."""
    yield make_engine(store, faithful=frozenset({quirk}), **changes), True
    yield make_engine(store, **changes), False


def test_frequency_wrap_loses_the_hottest_page():
    for engine, faithful in with_and_without("frequency-wrap", "hashed"):
        for now_ms in range(8):
            touch(engine, [5], now_ms)
        assert len(wake(engine, 10)) == (0 if faithful else 1)


def test_long_hash_lists_cost_steps_and_change_nothing_else():
    promoted = []
    for engine, faithful in with_and_without("long-hash-lists", "hashed"):
        half_full = range(engine.settings.pages // 4)
        touch(engine, half_full, 0)
        before = engine.store.list_steps
        touch(engine, range(10), 1)
        # A hit passes half of a list, and the lists are half full.
        assert engine.store.list_steps - before == (10 * 257 if faithful else 0)
        promoted.append(wake(engine, 1).page.tolist())
    assert promoted[0] == promoted[1]
    assert sorted(promoted[0]) == list(range(10))


def test_never_expire_keeps_cold_records_for_ever():
    for engine, faithful in with_and_without("never-expire", "hashed"):
        touch(engine, range(100), 0)
        touch(engine, [200], HOUR_MS)
        assert engine.counters["pghot_records_hash"] == (101 if faithful else 1)
        assert engine.counters["pghot_records_pruned"] == (0 if faithful else 100)


@pytest.mark.parametrize("store, range_ms", [("default", 4096), ("precise", 16384)])
def test_time_aliasing_makes_a_long_untouched_page_look_fresh(store, range_ms):
    for engine, faithful in with_and_without("time-aliasing", store):
        touch(engine, [5], 1000)
        touch(engine, [5], 1000 + range_ms)
        assert len(wake(engine, 1000 + range_ms)) == (1 if faithful else 0)


def test_time_aliasing_allows_the_published_4000_ms_window_that_never_ends():
    engine = make_engine("default", faithful=frozenset({"time-aliasing"}), window_ms=4000)
    touch(engine, [5], 0)
    touch(engine, [5], 3968)
    assert len(wake(engine, 3968)) == 1


@pytest.mark.parametrize("store", ALL_STORES)
def test_consumed_before_gate_loses_refused_pages(store):
    quirk = "consumed-before-gate"
    for engine, faithful in with_and_without(quirk, store, rate_limit_mb_s=ONE_PAGE_A_SECOND):
        touch(engine, [5, 6], 0, count=2)
        assert len(wake(engine, 0)) == 1
        assert len(wake(engine, 1000)) == (0 if faithful else 1)
        assert engine.counters["kpromoted_dropped"] == (1 if faithful else 0)


@pytest.mark.parametrize("store", ALL_STORES)
def test_consumed_before_gate_loses_pages_that_could_not_be_moved(store):
    for engine, faithful in with_and_without("consumed-before-gate", store):
        touch(engine, [5], 0, count=2)
        engine.requeue(wake(engine, 0))
        assert len(wake(engine, 1000)) == (0 if faithful else 1)


@pytest.mark.parametrize("store", ALL_STORES)
def test_candidate_counts_refused_inflates_the_counter(store):
    quirk = "candidate-counts-refused"
    for engine, faithful in with_and_without(quirk, store, rate_limit_mb_s=ONE_PAGE_A_SECOND):
        touch(engine, [5, 6, 7], 0, count=2)
        for now_ms in (0, 100, 200):
            wake(engine, now_ms)
        assert engine.counters["pgpromote_candidate"] == (3 + 2 + 2 if faithful else 1)
        assert engine.counters["pgpromote_rate_limited"] == 2 + 2 + 2


def test_candidate_counts_refused_lowers_the_threshold_for_pages_that_merely_wait():
    quirk = "candidate-counts-refused"
    for engine, faithful in with_and_without(quirk, "precise", rate_limit_mb_s=ONE_PAGE_A_SECOND):
        for now_ms in range(0, 61_000, 1000):
            touch(engine, [5, 6], now_ms, count=2)
            for step in range(0, 1000, 100):
                wake(engine, now_ms + step)
        threshold_ms = engine.gate.threshold_ms(0)
        assert threshold_ms < 5000 if faithful else threshold_ms == 5000


@pytest.mark.parametrize("store", ["default", "precise"])
def test_address_order_puts_the_hottest_page_last(store):
    for engine, faithful in with_and_without("address-order", store):
        touch(engine, [10, 20], 0, count=2)
        touch(engine, [69_000], 0, count=3)
        assert wake(engine, 0).page.tolist() == ([10, 20, 69_000] if faithful else [69_000, 10, 20])


def test_every_quirk_belongs_to_a_store_and_all_of_a_store_work_together():
    assert (
        set().union(*map(faithful_options, ALL_STORES)) == set(FAITHFUL) == set(faithful_options("outside"))
    )
    for store in ALL_STORES:
        engine = make_engine(store, faithful=faithful_options(store))
        touch(engine, np.arange(10), 0, count=2)
        assert len(wake(engine, 0)) == 10
