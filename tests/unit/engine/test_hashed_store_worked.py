"""The hashed store by worked examples: a record is frequency + 8 * node + 8192 * ms (FACTS 1)."""

from __future__ import annotations

import numpy as np
import pytest

from pghot.engine.accesses import Accesses
from pghot.engine.hashed import HashedStore
from pghot.engine.settings import EngineSettings
from pghot.engine.table import KEY, RECORD, find

PAGES = 100
LOWER = np.zeros(256, np.bool_)
LOWER[2] = True
ON_LOWER = np.full(PAGES, 2, np.uint8)


def make(**changes) -> HashedStore:
    """Nodes 0 and 1 on top; room for 100 records and 100 in each heap."""
    values = {"pages": PAGES, "page_bytes": 4096, "nodes": 3, "top_nodes": (0, 1), "target_nid": 0}
    values |= {"table_share": 1.0, "heap_share": 1.0}
    return HashedStore(EngineSettings("hashed", **{**values, **changes}))


def touch(store, pages, now_ms, node=0, count=1, place=ON_LOWER, hint_fault=False) -> int:
    pages = np.array(pages, np.uint32)
    size = len(pages)
    nodes, counts = np.full(size, node, np.int16), np.full(size, count, np.uint32)
    return store.record(Accesses(pages, nodes, counts, now_ms, hint_fault), place, LOWER)


def record_of(store, page) -> int | None:
    """The page's record, None without one."""
    slot = find(store.arrays.table, page)
    return int(store.arrays.table[slot, RECORD]) if store.arrays.table[slot, KEY] else None


def counts(store) -> list[int]:
    """Records in the table and in the heaps."""
    found = store.counters()
    return [found["pghot_records_hash"], found["pghot_records_heap"]]


def test_a_record_and_its_second_access():
    store = make()
    assert touch(store, [7], 1000, node=1) == 1
    assert record_of(store, 7) == 8_192_009  # 1 + 8 * 1 + 8192 * 1000
    assert counts(store) == [1, 0]
    touch(store, [7], 1001, node=-1)
    assert record_of(store, 7) == 8_200_202  # 2 + 8 * 1 + 8192 * 1001: the node is kept
    assert counts(store) == [1, 1]
    assert store.arrays.sizes.tolist() == [0, 1]  # in node 1's heap


def test_another_known_node_starts_the_page_over_in_that_node_s_heap():
    store = make()
    touch(store, [7], 0, node=0, count=2)
    assert store.arrays.sizes.tolist() == [1, 0]
    touch(store, [7], 1, node=1)
    assert record_of(store, 7) == 8201  # 1 + 8 * 1 + 8192 * 1
    assert store.arrays.sizes.tolist() == [0, 0]
    touch(store, [7], 2, node=0, count=3)
    assert record_of(store, 7) == 16_387  # 3 + 0 + 8192 * 2
    assert store.arrays.sizes.tolist() == [1, 0]
    touch(store, [7], 2, node=1, count=2)
    assert store.arrays.sizes.tolist() == [0, 1]


def test_a_node_after_an_unknown_one_starts_nothing_over():
    store = make()
    touch(store, [7], 0, node=-1)
    assert record_of(store, 7) == 8185  # 1 + 8 * 1023
    touch(store, [7], 0, node=1)
    assert record_of(store, 7) == 10  # 2 + 8 * 1
    assert store.arrays.sizes.tolist() == [0, 1]


@pytest.mark.parametrize(
    "now_ms, hint_fault, record",
    [
        (5000, False, 40_960_002),  # 5000 ms is inside: 2 + 8192 * 5000
        (5001, False, 40_968_193),  # starts over: 1 + 8192 * 5001
        (5001, True, 40_968_194),  # a hint fault opens no window
    ],
)
def test_the_window_of_5000_ms(now_ms, hint_fault, record):
    store = make()
    touch(store, [7], 0)
    touch(store, [7], now_ms, hint_fault=hint_fault)
    assert record_of(store, 7) == record


def test_time_wraps_after_524288_ms():
    store = make()
    touch(store, [7], 524_287)
    assert record_of(store, 7) == 4_294_959_105  # 1 + 8192 * 524287
    touch(store, [7], 524_388)
    assert record_of(store, 7) == 819_202  # 2 + 8192 * 100: 101 ms later
    assert store.take(524_488, 1).age_ms.tolist() == [100]


def test_the_frequency_stays_at_7_and_as_published_wraps_to_0():
    ours, published = make(), make(faithful=frozenset({"frequency-wrap"}))
    for store in (ours, published):
        touch(store, [7], 0, count=7)
        assert record_of(store, 7) == 7
        touch(store, [7], 0, count=3)
    assert record_of(ours, 7) == 7
    assert record_of(published, 7) == 2  # 10 - 8
    touch(published, [7], 0, count=6)
    assert record_of(published, 7) == 0
    assert counts(published) == [1, 0]


def test_a_saturated_page_is_counted_and_its_time_goes_on():
    store = make()
    assert touch(store, [7], 0, count=9) == 9
    assert touch(store, [7], 0, count=4) == 4
    touch(store, [7], 3)
    assert record_of(store, 7) == 24_583  # 7 + 8192 * 3
    assert counts(store) == [1, 1]


def test_only_accesses_of_lower_pages_enter_and_a_count_of_0_is_none():
    store, place = make(), ON_LOWER.copy()
    place[[1, 2]] = [0, 255]
    assert touch(store, [1, 2, 3, 3], 0, count=2, place=place) == 4
    assert touch(store, [4], 0, count=0) == 0
    assert [record_of(store, page) for page in range(5)] == [None, None, None, 4, None]


def test_a_full_table_hears_known_pages_only():
    store = make(table_share=0.02)  # 2 records
    assert touch(store, [1, 2, 3, 1, 4], 0, count=3) == 9
    assert store.counters()["pghot_dropped_accesses"] == 6
    assert [record_of(store, page) is None for page in (1, 2, 3, 4)] == [False, False, True, True]
    assert counts(store) == [2, 2]


def test_shares_are_cut_off_and_at_least_one():
    # 100 * 0.029 = 2 records; 2 / 0.75 + 2 = 4 slots of 16 bytes; 2 * 0.75 = 1 place of 8 bytes in two heaps.
    store = make(table_share=0.029, heap_share=0.75)
    assert store.arrays.table.shape == (4, 4)
    assert store.arrays.heaps.shape == (2, 1)
    assert store.bytes_total() == 80
    assert make(table_share=0.001, heap_share=0.001).arrays.table.shape == (3, 4)  # 1 / 0.75 + 2
    assert make(heap_share=0.001).arrays.heaps.shape == (2, 1)


def test_a_full_heap_leaves_the_record_in_the_table_until_its_next_access():
    store = make(heap_share=0.02)  # 2 places
    touch(store, [1, 2, 3], 0, count=2)
    assert counts(store) == [3, 2]
    assert store.counters()["pghot_heap_full"] == 1
    assert sorted(store.take(0, 1).page.tolist()) == [1, 2]
    assert counts(store) == [1, 0]
    touch(store, [3], 1)
    assert record_of(store, 3) == 8195  # 3 + 8192 * 1: nothing was lost
    assert store.take(1, 1).page.tolist() == [3]
    assert store.counters()["pghot_heap_full"] == 1


def test_kpromoted_pops_the_hottest_of_each_heap():
    store = make(batch_nr=2)
    for page, count in ((10, 2), (11, 7), (12, 4), (13, 5)):
        touch(store, [page], 0, node=0, count=count)
    touch(store, [20], 0, node=1, count=3)
    touch(store, [30], 0, node=0)  # not hot
    taken = store.take(50, 1)
    assert taken.page.tolist() == [11, 13, 20]
    assert taken.node.tolist() == [0, 0, 1]
    assert taken.age_ms.tolist() == [50, 50, 50]
    assert taken.record.tolist() == [7, 5, 11]  # 3 + 8 * 1
    assert counts(store) == [3, 2]
    assert store.take(50, 2).page.tolist() == [12, 10]
    assert counts(store) == [1, 0]
    assert record_of(store, 30) == 1


def test_what_is_popped_is_ordered_by_frequency_then_age():
    store = make()
    touch(store, [1], 0, count=3)
    touch(store, [2], 40, count=3)
    touch(store, [3], 0, count=6)
    assert store.take(100, 1).page.tolist() == [3, 2, 1]


def test_a_scaled_batch_may_be_a_part_of_a_page_which_is_owed():
    store = make(batch_nr=3, group_pages=4)  # 0.75 pages a round
    touch(store, range(10), 0, count=2)
    # 0.75; 0.75 + 0.75 = 1.5; 0.5 + 0.75 = 1.25; 0.25 + 0.75 = 1.0; 0.0 + 2 * 0.75 = 1.5
    assert [len(store.take(0, rounds)) for rounds in (1, 1, 1, 1, 2)] == [0, 1, 1, 1, 1]
    assert len(store.take(0, 4)) == 3  # 0.5 + 4 * 0.75 = 3.5


def test_the_published_batch_is_1024():
    store = make(pages=3000)
    touch(store, range(3000), 0, count=2, place=np.full(3000, 2, np.uint8))
    assert [len(store.take(0, 1)) for _ in range(3)] == [1024, 1024, 952]
    assert (store.batch_nr, store.sleep_ms, store.window_ms) == (1024, 20, 5000)


def test_restore_waiting_goes_back_to_the_heap_and_otherwise_only_to_the_table():
    store = make()
    touch(store, [1, 2], 5, node=1, count=3)
    taken = store.take(5, 1)
    assert counts(store) == [0, 0]
    store.restore(taken.select(taken.page == 1), waiting=True)
    store.restore(taken.select(taken.page == 2), waiting=False)
    assert [record_of(store, page) for page in (1, 2)] == [40_971, 40_971]  # 3 + 8 * 1 + 8192 * 5
    assert store.arrays.sizes.tolist() == [0, 1]
    again = store.take(5, 1)
    assert (again.page.tolist(), again.node.tolist()) == ([1], [1])


def test_restore_leaves_a_newer_record_and_counts_what_finds_no_room():
    store = make(table_share=0.02)
    touch(store, [1, 2], 0, count=3)
    taken = store.take(0, 1)
    touch(store, [1, 3], 9)
    store.restore(taken, waiting=True)
    assert record_of(store, 1) == 73_729  # 1 + 8192 * 9
    assert record_of(store, 2) is None
    assert store.counters()["pghot_records_dropped"] == 1
    assert counts(store) == [2, 0]


def test_forget_takes_the_page_out_of_table_and_heap():
    store = make()
    touch(store, [1, 2], 0, count=2)
    touch(store, [3], 0)
    store.forget(np.array([2, 3, 50], np.uint32))
    assert counts(store) == [1, 1]
    assert store.take(0, 1).page.tolist() == [1]


@pytest.mark.parametrize("now_ms, pruned", [(10_000, 0), (10_001, 2)])
def test_records_older_than_two_windows_are_pruned(now_ms, pruned):
    store = make()
    touch(store, [1, 2], 0, count=2)
    touch(store, [3], 4000)
    touch(store, [4], now_ms)
    assert counts(store) == [4 - pruned, 2 - pruned]
    assert store.counters()["pghot_records_pruned"] == pruned


def test_pruning_looks_again_at_a_slot_that_the_next_record_moved_into():
    store = make()
    touch(store, range(PAGES), 0)
    touch(store, [5], 9000)
    # Kept are 10000 ms: at 14001 a record of page 5, 5001 ms old, but none of 0.
    touch(store, [6], 14_001)
    assert counts(store) == [2, 0]
    assert store.counters()["pghot_records_pruned"] == 99  # all but page 5, and 6 is heard anew


def test_long_lists_cost_half_a_list_for_each_report():
    store = make(faithful=frozenset({"long-hash-lists"}))
    touch(store, range(25), 0)
    assert store.list_steps == 25  # an empty table: one step each
    touch(store, [1, 2], 1)
    # A quarter of the table is full: 1 + 1024 / 2 / 4 = 129 steps each.
    assert store.list_steps == 25 + 258
