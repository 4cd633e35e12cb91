"""The packed stores' kernels against their references, and their sweeps against exact timestamps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pghot.engine import STORES
from pghot.engine.accesses import Accesses
from pghot.engine.default import record_default, update_table
from pghot.engine.kmigrated import take_ready
from pghot.engine.packed import sweep, sweep_held
from pghot.engine.precise import record_precise
from pghot.engine.settings import EngineSettings
from references.engine.default import record_default_reference
from references.engine.kmigrated import take_ready_reference
from references.engine.packed import sweep_held_reference, sweep_reference
from references.engine.precise import record_precise_reference

PAGES = 40
ELIGIBLE = np.zeros(256, np.bool_)
ELIGIBLE[1:3] = True

seeds = st.integers(0, 2**32 - 1)


def report(rng: np.random.Generator, rows: int, time_ms: int = 0) -> Accesses:
    """Random accesses: duplicates, unknown nodes, counts of 0 and beyond every field."""
    return Accesses(
        rng.integers(0, PAGES, rows).astype(np.uint32),
        rng.integers(-1, 4, rows).astype(np.int16),
        rng.choice([0, 1, 1, 1, 2, 3, 7, 8, 2**32 - 1], rows).astype(np.uint32),
        time_ms,
    )


def places(rng: np.random.Generator) -> np.ndarray:
    return rng.choice([0, 1, 2, 255], PAGES, p=[0.1, 0.5, 0.3, 0.1]).astype(np.uint8)


# Windows of whole ticks too: there a latency can equal the window.
windows = st.one_of(st.integers(1, 5000), st.integers(1, 31).map(lambda ticks: ticks << 7))


@given(seeds, st.integers(0, 80), st.integers(0, 2**40), windows, st.integers(1, 3))
def test_default_update_equals_its_reference(seed, rows, now_ms, window_ms, threshold):
    """Any old byte, any time (the 128 ms ticks wrap at 32), any window, even one beyond the layout."""
    rng = np.random.default_rng(seed)
    accesses, place, tick = report(rng, rows), places(rng), now_ms >> 7
    records = rng.integers(0, 256, PAGES).astype(np.uint8)
    # A READY record's section is HOT already: the kernel relies on it.
    hot, held = np.array([int((records >= 128).any())], np.uint8), np.zeros(1, np.uint8)
    records2, hot2, held2 = records.copy(), hot.copy(), held.copy()
    table = update_table(tick, window_ms, threshold)
    entered = record_default(accesses.page, accesses.count, place, ELIGIBLE, table, records, hot, held)
    expected = record_default_reference(
        accesses.page, accesses.count, place, ELIGIBLE, tick, window_ms, threshold, records2, hot2, held2
    )
    assert entered == expected
    np.testing.assert_array_equal(records, records2)
    np.testing.assert_array_equal(hot, hot2)
    np.testing.assert_array_equal(held, held2)


@given(seeds, st.integers(0, 80), st.integers(0, 2**14 - 1), st.integers(1, 20000), st.integers(1, 7))
def test_precise_update_equals_its_reference(seed, rows, now, window_ms, threshold):
    rng = np.random.default_rng(seed)
    accesses, place = report(rng, rows), places(rng)
    # Bits 27 to 30 are unused; empty records among the others.
    records = (rng.integers(0, 2**32, PAGES) & 0x87FFFFFF).astype(np.uint32) * rng.integers(
        0, 2, PAGES, np.uint32
    )
    hot, held = np.array([int((records >= 2**31).any())], np.uint8), np.zeros(1, np.uint8)
    records2, hot2, held2 = records.copy(), hot.copy(), held.copy()
    row = (accesses.page, accesses.node, accesses.count, place, ELIGIBLE)
    entered = record_precise(*row, records, hot, held, now, window_ms, threshold)
    assert entered == record_precise_reference(*row, records2, hot2, held2, now, window_ms, threshold)
    np.testing.assert_array_equal(records, records2)
    np.testing.assert_array_equal(hot, hot2)
    np.testing.assert_array_equal(held, held2)


LIMITS = st.one_of(st.integers(-3, 40), st.integers(0, 2**14))
LAYOUTS = {"default": (np.uint8, 2, 31, 0x80), "precise": (np.uint32, 13, 0x3FFF, 0x8000_0000)}


@pytest.mark.parametrize("layout", LAYOUTS)
@given(seeds, st.integers(0, 2**14 - 1), LIMITS)
def test_sweep_equals_its_reference(layout, seed, stamp, limit):
    dtype, shift, mask, _ = LAYOUTS[layout]
    rng = np.random.default_rng(seed)
    records = (rng.integers(0, 2**32, 100) * rng.integers(0, 2, 100)).astype(dtype)
    records2 = records.copy()
    assert sweep(records, shift, mask, stamp & mask, limit) == sweep_reference(
        records2, shift, mask, stamp & mask, limit
    )
    np.testing.assert_array_equal(records, records2)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(seeds, st.integers(0, 2**14 - 1), LIMITS, st.sampled_from([1, 32768, 32769, 100_000]))
def test_sweeps_of_sections_with_records_miss_nothing(layout, seed, stamp, limit, pages):
    """Flags on every section with records and on some of the others: the result is that of a full walk."""
    dtype, shift, mask, _ = LAYOUTS[layout]
    rng = np.random.default_rng(seed)
    records = np.zeros(pages, dtype)
    some = rng.integers(0, pages, rng.integers(0, 20))
    records[some] = rng.integers(0, 2**32, len(some)).astype(dtype)
    held = rng.integers(0, 2, (pages >> 15) + 1).astype(np.uint8)
    held[np.flatnonzero(records) >> 15] = 1
    records2, held2 = records.copy(), held.copy()
    assert sweep_held(records, held, shift, mask, stamp & mask, limit) == sweep_held_reference(
        records2, held2, shift, mask, stamp & mask, limit
    )
    np.testing.assert_array_equal(records, records2)
    np.testing.assert_array_equal(held, held2)


@pytest.mark.parametrize("store", ["default", "precise"])
@given(seeds, st.lists(st.integers(0, 4000), min_size=1, max_size=20))
def test_a_store_knows_the_sections_of_its_records(store, seed, gaps):
    """Through recording, taking, giving back, forgetting and ageing: a record's section has its flags."""
    rng = np.random.default_rng(seed)
    pages, now = 3 << 15, 0
    subject = STORES.make(store, EngineSettings(store, pages, 4096, 4, (0,), 0))
    place = np.full(pages, 1, np.uint8)
    for gap in gaps:
        now += gap
        page = (rng.integers(0, 3, 8) * 32768 + rng.integers(0, 4, 8)).astype(np.uint32)
        subject.record(Accesses(page, np.zeros(8, np.int16), np.ones(8, np.uint32), now), place, ELIGIBLE)
        if rng.integers(0, 2):
            subject.restore(subject.take(now, 1), waiting=bool(rng.integers(0, 2)))
        if not rng.integers(0, 4):
            subject.forget(page[:2])
        for section in range(3):
            part = subject.records[section << 15 : section + 1 << 15]
            assert subject.held[section] or not part.any()
            assert subject.hot[section] or not (part & subject.READY).any()


@pytest.mark.parametrize("layout", LAYOUTS)
@given(seeds, st.sampled_from([1, 31, 33, 1055, 32767, 32768, 32769, 33_795, 100_000]))
def test_take_ready_equals_its_reference(layout, seed, pages):
    """Last sections and blocks that are not full, sections without the flag, many READY records and none."""
    dtype, _, _, ready = LAYOUTS[layout]
    rng = np.random.default_rng(seed)
    records = rng.integers(0, ready, pages).astype(dtype)
    records[rng.integers(0, pages, rng.choice([0, 3, 50, pages]))] |= dtype(ready)
    records[-1] |= dtype(ready * rng.integers(0, 2))
    hot = rng.integers(0, 2, (pages >> 15) + 1).astype(np.uint8)
    records2, hot2 = records.copy(), hot.copy()
    page, record = take_ready(records, hot, ready)
    page2, record2 = take_ready_reference(records2, hot2, ready)
    np.testing.assert_array_equal(page, page2)
    np.testing.assert_array_equal(record, record2)
    np.testing.assert_array_equal(records, records2)
    np.testing.assert_array_equal(hot, hot2)


TICKS = {"default": 128, "precise": 1}
steps = st.lists(
    st.one_of(st.integers(0, 300), st.integers(0, 6000), st.integers(0, 10**6)), min_size=1, max_size=30
)


@pytest.mark.parametrize("store", TICKS)
@given(seeds, steps)
def test_time_never_aliases(store, seed, gaps):
    """However the calls are spaced, frequencies are those of a store with unbounded timestamps."""
    rng = np.random.default_rng(seed)
    settings = EngineSettings(store, PAGES, 4096, 4, (0,), 0, freq_threshold=3)
    subject, tick_ms = STORES.make(store, settings), TICKS[store]
    place = np.full(PAGES, 1, np.uint8)
    most = {"default": 3, "precise": 7}[store]
    seen: dict[int, tuple[int, int]] = {}
    now = 0
    for gap in gaps:
        now += gap
        pages = rng.choice(PAGES, 5, replace=False)
        subject.record(
            Accesses(pages.astype(np.uint32), np.zeros(5, np.int16), np.ones(5, np.uint32), now),
            place,
            ELIGIBLE,
        )
        for page in pages.tolist():
            frequency, tick = seen.get(page, (0, now // tick_ms))
            stale = (now // tick_ms - tick) * tick_ms > subject.window_ms
            seen[page] = (1 if stale else min(frequency + 1, most), now // tick_ms)
            stored = subject._frequency(subject.records[page : page + 1])[0]
            assert stored == seen[page][0]


@pytest.mark.parametrize("store", ["default", "precise", "hashed"])
@given(seeds, steps)
def test_taken_pages_are_hot_and_young(store, seed, gaps):
    """What a consumer gets is distinct, hottest first, and its age is the true one (to a tick)."""
    rng = np.random.default_rng(seed)
    subject = STORES.make(
        store, EngineSettings(store, PAGES, 4096, 4, (0,), 0, table_share=1.0, heap_share=1.0)
    )
    place, last, now = np.full(PAGES, 1, np.uint8), {}, 0
    for gap in gaps:
        now += gap
        pages = rng.integers(0, PAGES, 6)
        subject.record(
            Accesses(pages.astype(np.uint32), np.zeros(6, np.int16), np.ones(6, np.uint32), now),
            place,
            ELIGIBLE,
        )
        last.update(dict.fromkeys(pages.tolist(), now))
        later = now + int(rng.integers(0, 20_000))
        taken = subject.take(later, 1)
        assert len(set(taken.page.tolist())) == len(taken)
        for page, age in zip(taken.page.tolist(), taken.age_ms.tolist(), strict=True):
            assert abs(age - (later - last[page])) < TICKS.get(store, 1)
        subject.restore(taken, waiting=True)
        again = subject.take(later, 1)
        np.testing.assert_array_equal(np.sort(again.record), np.sort(taken.record))
        subject.restore(again, waiting=bool(rng.integers(0, 2)))
        now = later
