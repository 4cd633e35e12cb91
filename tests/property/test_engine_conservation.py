"""Conservation: between sources and promotions no page and no access is lost without being counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.engines import ABIT, CHMU, PEBS
from pghot.engine.accesses import Accesses
from pghot.engine.engine import HotnessEngine, Promotions
from pghot.engine.settings import EngineSettings, faithful_options

PAGES = 50
NODES = 3
LOWER = np.array([False, True, True])
ZEROS = np.zeros(NODES, np.int64)
STORES = pytest.mark.parametrize("store", ["default", "precise", "hashed"])

schedules = st.lists(
    st.tuples(st.sampled_from([0, 1, 20, 100, 1000, 70_000]), st.integers(0, 40), st.integers(0, 20)),
    min_size=1,
    max_size=15,
)
seeds = st.integers(0, 2**32 - 1)


def new_engine(store: str, faithful: bool, table_share: float = 0.5) -> HotnessEngine:
    quirks = faithful_options(store) if faithful else frozenset()
    rate_mb_s = 5 * 4096 / 2**20
    return HotnessEngine(
        EngineSettings(
            store,
            PAGES,
            4096,
            NODES,
            (0,),
            0,
            rate_limit_mb_s=rate_mb_s,
            faithful=quirks,
            table_share=table_share,
        )
    )


def report(rng: np.random.Generator, rows: int, now: int) -> Accesses:
    return Accesses(
        rng.integers(0, PAGES, rows).astype(np.uint32),
        rng.integers(-1, 3, rows).astype(np.int16),
        rng.integers(0, 4, rows).astype(np.uint32),
        now,
    )


def places(rng: np.random.Generator) -> np.ndarray:
    return rng.choice([0, 1, 2, 255], PAGES).astype(np.uint8)


def waiting(engine: HotnessEngine) -> int:
    """Hot pages that the store holds for its consumer."""
    if engine.settings.store == "hashed":
        return engine.counters["pghot_records_heap"]
    return int(np.count_nonzero(engine.store.records & engine.store.READY))


def rise(before: dict[str, int], after: dict[str, int], name: str) -> int:
    return after[name] - before[name]


@STORES
@settings(max_examples=60)
@given(seeds, schedules, st.sampled_from([0.1, 0.5, 1.0]))
def test_every_reported_access_is_accounted_for_once(store, seed, schedule, table_share):
    """reported = recorded + dropped + ignored, each of them what a plain count says; by source too."""
    rng = np.random.default_rng(seed)
    engine = new_engine(store, False, table_share)
    reported = {"ignored": 0, "entered": 0, "abit": 0, "chmu": 0}
    now = 0
    for gap, rows, off in schedule:
        now += gap
        source = (ABIT, CHMU)[rows % 2]
        heard = off % 3 > 0
        (engine.enable if heard else engine.disable)(source.name)
        accesses, place = report(rng, rows, now), places(rng)
        before = engine.counters
        engine.record(source, accesses, place, LOWER)
        after = engine.counters
        if heard:
            lower = np.isin(place[accesses.page], [1, 2])
            reported["ignored"] += int(accesses.count[~lower].sum())
            reported["entered"] += int(accesses.count[lower].sum())
            reported[source.name] += rise(before, after, "pghot_recorded_accesses")
        else:
            assert after == before, "a disabled source is not heard"
    counters = engine.counters
    recorded, dropped = counters["pghot_recorded_accesses"], counters.get("pghot_dropped_accesses", 0)
    assert counters["pghot_ignored_accesses"] == reported["ignored"]
    assert recorded + dropped == reported["entered"]
    assert counters["pghot_reported_accesses"] == reported["ignored"] + reported["entered"]
    assert counters["pghot_recorded_pgtscans"] == reported["abit"]
    assert counters["pghot_recorded_hwhints"] == reported["chmu"]
    assert counters["pghot_recorded_hintfaults"] == 0
    assert recorded == reported["abit"] + reported["chmu"]
    if table_share == 1.0:
        assert dropped == 0


@STORES
@settings(max_examples=60)
@given(seeds, schedules, st.booleans())
def test_every_hot_page_is_promoted_refused_or_still_waiting(store, seed, schedule, faithful):
    """Each round the waiting pages fall by the promoted and the too old, and published by the limited too."""
    rng = np.random.default_rng(seed)
    engine, now = new_engine(store, faithful), 0
    place = places(rng)
    for gap, rows, max_pages in schedule:
        now += gap
        engine.record(PEBS, report(rng, 1 + rows, now), place, LOWER)
        free = rng.integers(0, 3, NODES) * 10**6
        hot, before = waiting(engine), engine.counters
        chosen = engine.wake(now, free, ZEROS, ZEROS, max_pages)
        after = engine.counters
        assert len(chosen) <= max_pages
        assert len(np.unique(chosen.page)) == len(chosen)
        assert np.isin(place[chosen.page], [1, 2]).all(), "only recorded pages are promoted"
        cold, limited = (
            rise(before, after, "kpromoted_cold_old"),
            rise(before, after, "pgpromote_rate_limited"),
        )
        admitted = rise(before, after, "pgpromote_candidate_nrl")
        admitted += rise(before, after, "pgpromote_candidate") - limited * faithful
        assert admitted == len(chosen)
        assert waiting(engine) == hot - len(chosen) - cold - limited * faithful
        assert rise(before, after, "kpromoted_dropped") == (limited + cold) * faithful

        failed = rng.random(len(chosen)) < 0.3
        hot = waiting(engine)
        engine.requeue(Promotions(chosen.page[failed], chosen.node[failed]))
        assert rise(after, engine.counters, "kpromoted_dropped") == failed.sum() * faithful
        assert waiting(engine) == hot + failed.sum() * (not faithful)
        place[chosen.page[~failed]] = 0
        # The engine is told of every move; what it knew of a promoted page is void.
        engine.forget(chosen.page[~failed])


@settings(max_examples=60)
@given(seeds, st.integers(1, 200), st.sampled_from([0.1, 0.5, 1.0]))
def test_records_are_in_the_table_or_accounted_for(seed, steps, table_share):
    """hashed: first sights = records held + promoted + pruned, table full or not."""
    rng = np.random.default_rng(seed)
    engine = HotnessEngine(EngineSettings("hashed", PAGES, 4096, NODES, (0,), 0, table_share=table_share))
    place = np.full(PAGES, 1, np.uint8)
    capacity = max(1, int(PAGES * table_share))
    now, entered, promoted, known = 0, 0, 0, set()
    for _ in range(steps):
        now += int(rng.choice([1, 10, 6000], p=[0.6, 0.37, 0.03]))
        page = rng.integers(0, PAGES, 1).astype(np.uint32)
        before = engine.counters
        engine.record(PEBS, Accesses(page, np.zeros(1, np.int16), np.ones(1, np.uint32), now), place, LOWER)
        after = engine.counters
        entered += rise(before, after, "pghot_records_hash") + rise(before, after, "pghot_records_pruned")
        known.add(int(page[0]))
        promoted += len(engine.wake(now, ZEROS, ZEROS, ZEROS, 10))
        counters = engine.counters
        assert counters["pghot_records_hash"] + promoted + counters["pghot_records_pruned"] == entered
        assert counters["pghot_records_hash"] <= capacity
        assert entered >= min(len(known), capacity)
