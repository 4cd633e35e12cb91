"""The default store by worked examples: a byte is frequency + 4 * tick + 128 if READY, a tick is 128 ms (FACTS 2)."""

from __future__ import annotations

import numpy as np
import pytest

from pghot.engine.accesses import Accesses
from pghot.engine.default import DefaultStore
from pghot.engine.settings import EngineSettings

PAGES = 70_000
LOWER = np.zeros(256, np.bool_)
LOWER[2] = True
ON_LOWER = np.full(PAGES, 2, np.uint8)


def make(**changes) -> DefaultStore:
    values = {"pages": PAGES, "page_bytes": 4096, "nodes": 3, "top_nodes": (0, 1), "target_nid": 1}
    return DefaultStore(EngineSettings("default", **{**values, **changes}))


def touch(store, pages, now_ms, count=1, place=ON_LOWER) -> int:
    pages = np.array(pages, np.uint32)
    counts = np.full(len(pages), count, np.uint32)
    return store.record(Accesses(pages, np.zeros(len(pages), np.int16), counts, now_ms), place, LOWER)


def test_a_second_access_in_the_window_adds_up_and_is_ready():
    store = make()
    touch(store, [7], 1000)
    assert store.records[7] == 29  # frequency 1, tick 1000 // 128 = 7: 1 + 4 * 7
    assert store.hot.tolist() == [0, 0, 0]
    touch(store, [7], 1100)
    assert store.records[7] == 162  # frequency 2, tick 8, READY: 2 + 4 * 8 + 128
    assert store.hot.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    "now_ms, record",
    [
        (2944, 222),  # 23 ticks = 2944 ms, not over 3000: 2 + 4 * 23 + 128
        (3071, 222),  # the same tick
        (3072, 97),  # 24 ticks = 3072 ms, over 3000: starts over with 1 + 4 * 24
    ],
)
def test_the_window_of_3000_ms_ends_between_23_and_24_ticks(now_ms, record):
    store = make()
    touch(store, [7], 0)
    assert store.records[7] == 1
    touch(store, [7], now_ms)
    assert store.records[7] == record


@pytest.mark.parametrize("now_ms, record", [(256, 138), (384, 13)])
def test_a_latency_of_exactly_the_window_is_inside(now_ms, record):
    # 256 ms = 2 ticks: 2 + 4 * 2 + 128; 384 ms = 3 ticks: 1 + 4 * 3.
    store = make(window_ms=256)
    touch(store, [7], 0)
    touch(store, [7], now_ms)
    assert store.records[7] == record


def test_a_stale_page_starts_over_with_the_count_of_this_report():
    store = make(freq_threshold=3)
    touch(store, [7], 0, count=2)
    assert store.records[7] == 2
    touch(store, [7], 3072, count=2)
    assert store.records[7] == 98  # 2 + 4 * 24, not 3 + ...


def test_the_frequency_stays_at_3():
    store = make(freq_threshold=3)
    touch(store, [7], 128, count=2)
    assert store.records[7] == 6  # 2 + 4 * 1
    touch(store, [7], 128, count=5)
    assert store.records[7] == 135  # 3 + 4 * 1 + 128
    touch(store, [7], 256)
    assert store.records[7] == 139  # 3 + 4 * 2 + 128


def test_time_wraps_after_32_ticks():
    store = make()
    touch(store, [7], 3968)  # tick 31
    assert store.records[7] == 125  # 1 + 4 * 31
    touch(store, [7], 4096)  # tick 32 = 0 modulo 32, one tick later
    assert store.records[7] == 130  # 2 + 0 + 128


@pytest.mark.parametrize(
    "threshold, ready", [(1, [True, True, True]), (2, [False, True, True]), (3, [False, False, True])]
)
def test_ready_at_the_threshold(threshold, ready):
    store = make(freq_threshold=threshold)
    touch(store, [10], 0, count=1)
    touch(store, [11], 0, count=2)
    touch(store, [12], 0, count=3)
    assert (store.records[10:13] >= 128).tolist() == ready


def test_only_accesses_of_lower_pages_enter_and_are_counted():
    store, place = make(), ON_LOWER.copy()
    place[[1, 2]] = [0, 255]
    assert touch(store, [1, 2, 3, 3], 0, count=5, place=place) == 10
    assert touch(store, [4], 1000, count=0) == 0
    assert store.records[:5].tolist() == [0, 0, 0, 131, 0]  # 3 + 128


def test_the_flag_is_that_of_the_section_of_32768_pages():
    for page, flags in ((0, [1, 0, 0]), (32_767, [1, 0, 0]), (32_768, [0, 1, 0]), (65_536, [0, 0, 1])):
        store = make()
        touch(store, [page], 0, count=2)
        assert store.hot.tolist() == flags


def test_take_gives_hottest_first_then_youngest_and_empties_the_records():
    store = make()
    touch(store, [40_000], 0, count=2)
    touch(store, [9], 0, count=3)
    touch(store, [5], 0, count=1)
    touch(store, [60_000], 640, count=2)  # tick 5
    taken = store.take(1000, 1)  # tick 7
    assert taken.page.tolist() == [9, 60_000, 40_000]
    # (7 - 0) * 128, (7 - 5) * 128, (7 - 0) * 128
    assert taken.age_ms.tolist() == [896, 256, 896]
    assert taken.node.tolist() == [1, 1, 1]
    assert taken.record.tolist() == [131, 150, 130]  # 3 + 128; 2 + 4 * 5 + 128; 2 + 128
    assert np.flatnonzero(store.records).tolist() == [5]
    assert store.hot.tolist() == [0, 0, 0]
    assert len(store.take(1000, 1)) == 0


def test_ages_are_modular_too():
    store = make()
    touch(store, [7], 3968, count=2)  # tick 31
    assert store.take(4352, 1).age_ms.tolist() == [384]  # tick 34 = 2: (2 - 31) mod 32 = 3 ticks


def test_restore_waiting_keeps_ready_and_the_flag_and_otherwise_neither():
    store = make()
    touch(store, [7, 40_000], 128, count=2)
    taken = store.take(128, 1)
    store.restore(taken.select(taken.page == 40_000), waiting=True)
    store.restore(taken.select(taken.page == 7), waiting=False)
    assert store.records[[7, 40_000]].tolist() == [6, 134]  # 2 + 4 * 1; the same + 128
    assert store.hot.tolist() == [0, 1, 0]


def test_restore_leaves_a_newer_record():
    store = make()
    touch(store, [7], 128, count=2)
    taken = store.take(128, 1)
    touch(store, [7], 256)
    store.restore(taken, waiting=True)
    assert store.records[7] == 9  # 1 + 4 * 2


def test_forget_empties_the_record():
    store = make()
    touch(store, [7, 8], 0, count=2)
    store.forget(np.array([7], np.uint32))
    assert store.records[7:9].tolist() == [0, 130]


@pytest.mark.parametrize("tick, left", [(27, [7, 8]), (28, [8])])
def test_records_older_than_27_ticks_are_swept_away(tick, left):
    # Window 3000 >> 7 = 23 ticks, the layout ends at 31: kept are 23 + (31 - 23) // 2 = 27 ticks.
    store = make()
    touch(store, [7], 0)
    touch(store, [8], 1280)  # tick 10: a sweep is due (more than 31 - 27 = 4 ticks), nothing is old
    store.take(tick * 128, 1)
    assert np.flatnonzero(store.records).tolist() == left
    assert store.counters() == {"pghot_records_pruned": 2 - len(left)}


def test_an_hour_without_a_call_sweeps_everything():
    store = make()
    touch(store, [0, 7, 69_999], 0, count=2)
    touch(store, [8], 3_600_000)  # tick 28125 = 29 modulo 32
    assert np.flatnonzero(store.records).tolist() == [8]
    assert store.records[8] == 117  # 1 + 4 * 29
    assert store.counters() == {"pghot_records_pruned": 3}


def test_a_page_is_a_byte_and_a_section_two():
    assert make().bytes_total() == 70_006
    assert make(pages=32_768).bytes_total() == 32_772  # one section more than is full
    assert make(pages=32_767).bytes_total() == 32_769
