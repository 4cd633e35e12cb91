"""Conservation: between sources and promotions no page and no access is lost without being counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pghot.engine.accesses import Accesses
from pghot.engine.engine import HotnessEngine, Promotions
from pghot.engine.settings import EngineSettings, faithful_options

PAGES = 50
NODES = 3
LOWER = np.array([False, True, True])

schedules = st.lists(
    st.tuples(st.sampled_from([0, 1, 20, 100, 1000, 70_000]), st.integers(0, 40), st.integers(0, 20)),
    min_size=1,
    max_size=15,
)


@pytest.mark.parametrize("store", ["default", "precise", "hashed"])
@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), schedules, st.booleans())
def test_pages_and_accesses_are_conserved(store, seed, schedule, faithful):
    rng = np.random.default_rng(seed)
    engine = HotnessEngine(
        EngineSettings(
            store,
            PAGES,
            4096,
            NODES,
            (0,),
            0,
            rate_limit_mb_s=5 * 4096 / 2**20,
            faithful=faithful_options(store) if faithful else frozenset(),
        )
    )
    place = rng.choice([0, 1, 2, 255], PAGES).astype(np.uint8)
    now, offered, promoted, failed_total = 0, 0, 0, 0
    for gap, rows, max_pages in schedule:
        now += gap
        page = rng.integers(0, PAGES, rows).astype(np.uint32)
        count = rng.integers(1, 4, rows).astype(np.uint32)
        on_lower = np.isin(place[page], [1, 2])
        offered += int(count[on_lower].sum())
        dropped = engine.counters.get("pghot_records_dropped", 0)
        recorded = engine.counters["pghot_recorded_accesses"]
        engine.record(
            "pebs", Accesses(page, rng.integers(-1, 3, rows).astype(np.int16), count, now), place, LOWER
        )
        lost_reports = engine.counters.get("pghot_records_dropped", 0) - dropped
        entered = engine.counters["pghot_recorded_accesses"] - recorded
        assert lost_reports <= count[on_lower].sum() - entered <= 3 * lost_reports

        free = rng.integers(0, 3, NODES) * 10**6
        before = engine.counters
        chosen = engine.wake(now, free, np.zeros(NODES, np.int64), np.zeros(NODES, np.int64), max_pages)
        after = engine.counters
        assert len(chosen) <= max_pages
        assert len(np.unique(chosen.page)) == len(chosen)
        assert np.isin(place[chosen.page], [1, 2]).all(), "only recorded pages are promoted"
        admitted = after["pgpromote_candidate_nrl"] - before["pgpromote_candidate_nrl"]
        limited = after["pgpromote_rate_limited"] - before["pgpromote_rate_limited"]
        admitted += after["pgpromote_candidate"] - before["pgpromote_candidate"] - limited * faithful
        assert admitted == len(chosen)
        cold = after["kpromoted_cold_old"] - before["kpromoted_cold_old"]
        assert after["kpromoted_dropped"] - before["kpromoted_dropped"] == (limited + cold) * faithful

        failed = rng.random(len(chosen)) < 0.3
        engine.requeue(Promotions(chosen.page[failed], chosen.node[failed]))
        failed_total += int(failed.sum())
        assert engine.counters["kpromoted_dropped"] - after["kpromoted_dropped"] == failed.sum() * faithful
        place[chosen.page[~failed]] = 0
        promoted += int((~failed).sum())
    if store != "hashed":
        assert engine.counters["pghot_recorded_accesses"] == offered


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.sampled_from([0.1, 0.5, 1.0]))
def test_records_are_in_the_table_or_accounted_for(seed, steps, table_share):
    """hashed: first sights = records held + promoted + pruned + forgotten, table full or not."""
    rng = np.random.default_rng(seed)
    engine = HotnessEngine(EngineSettings("hashed", PAGES, 4096, NODES, (0,), 0, table_share=table_share))
    place, zeros = np.full(PAGES, 1, np.uint8), np.zeros(NODES, np.int64)
    now, entered, promoted, known = 0, 0, 0, set()
    for _ in range(steps):
        now += int(rng.choice([1, 10, 6000], p=[0.6, 0.37, 0.03]))
        page = int(rng.integers(0, PAGES))
        pruned = engine.counters["pghot_records_pruned"]
        held = engine.counters["pghot_records_hash"]
        engine.record(
            "pebs",
            Accesses(np.array([page], np.uint32), np.zeros(1, np.int16), np.ones(1, np.uint32), now),
            place,
            LOWER,
        )
        pruned = engine.counters["pghot_records_pruned"] - pruned
        entered += engine.counters["pghot_records_hash"] - held + pruned
        known.add(page)
        promoted += len(engine.wake(now, zeros, zeros, zeros, 10))
        counters = engine.counters
        assert counters["pghot_records_hash"] + promoted + counters["pghot_records_pruned"] == entered
        assert counters["pghot_records_hash"] <= max(1, int(PAGES * table_share))
        assert entered >= min(len(known), max(1, int(PAGES * table_share)))
