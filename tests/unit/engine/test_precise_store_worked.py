"""The precise store by worked examples: node + 1024 * frequency + 8192 * ms + 2**31 if READY (FACTS 2)."""

from __future__ import annotations

import numpy as np
import pytest

from pghot.engine.accesses import Accesses
from pghot.engine.precise import PreciseStore, targets_by_nid
from pghot.engine.settings import EngineSettings

PAGES = 70_000
READY = 2_147_483_648
LOWER = np.zeros(256, np.bool_)
LOWER[[2, 3]] = True
ON_LOWER = np.full(PAGES, 2, np.uint8)


def make(**changes) -> PreciseStore:
    values = {"pages": PAGES, "page_bytes": 4096, "nodes": 4, "top_nodes": (0, 1), "target_nid": 0}
    return PreciseStore(EngineSettings("precise", **{**values, **changes}))


def touch(store, pages, now_ms, node=0, count=1, place=ON_LOWER) -> int:
    pages = np.array(pages, np.uint32)
    size = len(pages)
    report = Accesses(pages, np.full(size, node, np.int16), np.full(size, count, np.uint32), now_ms)
    return store.record(report, place, LOWER)


def test_a_second_access_in_the_window_adds_up_and_an_unknown_node_keeps_the_old_one():
    store = make()
    touch(store, [7], 1000, node=3)
    assert store.records[7] == 8_193_027  # 3 + 1024 * 1 + 8192 * 1000
    assert store.hot.tolist() == [0, 0, 0]
    touch(store, [7], 1500, node=-1)
    assert store.records[7] == 12_290_051 + READY  # 3 + 1024 * 2 + 8192 * 1500
    assert store.hot.tolist() == [1, 0, 0]


def test_a_known_node_replaces_the_old_one_and_starts_nothing_over():
    store = make()
    touch(store, [7], 0, node=3)
    touch(store, [7], 1, node=1)
    assert store.records[7] == 10_241 + READY  # 1 + 1024 * 2 + 8192 * 1


def test_an_unknown_node_is_1023_until_one_is_known():
    store = make(freq_threshold=3)
    touch(store, [7], 0, node=-1)
    assert store.records[7] == 2047  # 1023 + 1024 * 1
    touch(store, [7], 0, node=2)
    assert store.records[7] == 2050  # 2 + 1024 * 2


@pytest.mark.parametrize(
    "now_ms, record",
    [
        (5000, 40_962_048 + READY),  # 5000 ms is inside: 1024 * 2 + 8192 * 5000
        (5001, 40_969_216),  # starts over: 1024 * 1 + 8192 * 5001
    ],
)
def test_the_window_of_5000_ms(now_ms, record):
    store = make()
    touch(store, [7], 0)
    touch(store, [7], now_ms)
    assert store.records[7] == record


def test_the_frequency_stays_at_7():
    store = make(freq_threshold=7)
    touch(store, [7], 0, count=6)
    assert store.records[7] == 6144  # 1024 * 6
    touch(store, [7], 0, count=5)
    assert store.records[7] == 7168 + READY  # 1024 * 7
    touch(store, [8], 0, count=1_000_000)
    assert store.records[8] == 7168 + READY


def test_time_wraps_after_16384_ms():
    store = make()
    touch(store, [7], 16_383)
    assert store.records[7] == 134_210_560  # 1024 + 8192 * 16383
    touch(store, [7], 16_484)  # 100 modulo 16384, 101 ms later
    assert store.records[7] == 821_248 + READY  # 1024 * 2 + 8192 * 100


def test_only_accesses_of_lower_pages_enter_and_a_count_of_0_is_none():
    store, place = make(), ON_LOWER.copy()
    place[[1, 2]] = [0, 255]
    assert touch(store, [1, 2, 3, 3], 0, count=2, place=place) == 4
    assert touch(store, [3], 9, count=0) == 0
    assert store.records[:4].tolist() == [0, 0, 0, 4096 + READY]  # 1024 * 4


def test_the_flag_is_that_of_the_section_of_32768_pages():
    for page, flags in ((32_767, [1, 0, 0]), (32_768, [0, 1, 0]), (65_536, [0, 0, 1])):
        store = make()
        touch(store, [page], 0, count=2)
        assert store.hot.tolist() == flags


def test_take_gives_hottest_first_then_youngest_each_to_its_node():
    store = make(top_of_node=(0, 1, 1, 0))
    touch(store, [9], 0, node=0, count=2)
    touch(store, [8], 0, node=2, count=7)
    touch(store, [7], 100, node=-1, count=2)
    touch(store, [6], 100, node=1)
    taken = store.take(250, 1)
    assert taken.page.tolist() == [8, 7, 9]
    assert taken.node.tolist() == [1, 0, 0]  # node 2 has 1; unknown goes to target_nid 0; 0 itself
    assert taken.age_ms.tolist() == [250, 150, 250]
    # 2 + 1024 * 7; 1023 + 1024 * 2 + 8192 * 100; 1024 * 2
    assert taken.record.tolist() == [7170 + READY, 822_271 + READY, 2048 + READY]
    assert np.flatnonzero(store.records).tolist() == [6]


def test_ages_are_modular_too():
    store = make()
    touch(store, [7], 16_000, count=2)
    assert store.take(16_500, 1).age_ms.tolist() == [500]  # 116 - 16000 modulo 16384


def test_restore_waiting_keeps_ready_and_the_flag_and_otherwise_neither():
    store = make()
    touch(store, [7, 40_000], 1, node=1, count=2)
    taken = store.take(1, 1)
    store.restore(taken.select(taken.page == 40_000), waiting=True)
    store.restore(taken.select(taken.page == 7), waiting=False)
    assert store.records[[7, 40_000]].tolist() == [10_241, 10_241 + READY]  # 1 + 1024 * 2 + 8192 * 1
    assert store.hot.tolist() == [0, 1, 0]


@pytest.mark.parametrize("now_ms, left", [(10_000, [7, 8]), (10_001, [8])])
def test_records_older_than_two_windows_are_swept_away(now_ms, left):
    # Two windows = 10000 ms, less than half way from 5000 to the layout's end at 16383.
    store = make()
    touch(store, [7], 0)
    touch(store, [8], 4000)
    store.take(now_ms, 1)
    assert np.flatnonzero(store.records).tolist() == left
    assert store.counters() == {"pghot_records_pruned": 2 - len(left)}


def test_a_page_is_four_bytes():
    assert make().bytes_total() == 280_006


def test_targets_are_those_of_the_settings_and_all_else_goes_to_target_nid():
    targets = targets_by_nid(EngineSettings("precise", PAGES, 4096, 4, (0, 1), 1))
    assert len(targets) == 1024
    assert targets[:5].tolist() == [0, 1, 1, 1, 1]
    assert targets[1023] == 1
