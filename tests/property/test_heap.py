"""Heaps, hash table and the hashed store against dictionaries, sets and sorting."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pghot.engine import heap
from pghot.engine.accesses import Accesses
from pghot.engine.hashed import HashedStore
from pghot.engine.heap import POSITION, SLOT_MASK
from pghot.engine.settings import EngineSettings
from pghot.engine.table import HEAP, KEY, RECORD, delete, find, home
from references.engine.hashed import HashedReference

ELIGIBLE = np.zeros(256, np.bool_)
ELIGIBLE[1:3] = True
seeds = st.integers(0, 2**32 - 1)


def check_heap(entries: np.ndarray, size: int, table: np.ndarray) -> None:
    """No parent is colder than its child, and the table knows where everyone is."""
    for position in range(size):
        assert table[entries[position] & SLOT_MASK, POSITION] == position + 1
        if position:
            assert entries[(position - 1) // 2] >> 32 >= entries[position] >> 32


@given(seeds, st.integers(1, 200))
def test_heap_operations_equal_sorting(seed, operations):
    rng = np.random.default_rng(seed)
    entries, table = np.zeros(20, np.int64), np.zeros((30, 4), np.uint32)
    size, inside = 0, {}
    for _ in range(operations):
        slot, frequency = int(rng.integers(0, 30)), int(rng.integers(0, 8))
        if slot not in inside:
            if size < len(entries):
                size = heap.push(entries, size, slot, frequency, table)
                inside[slot] = frequency
        elif rng.random() < 0.5:
            heap.change(entries, size, int(table[slot, POSITION]) - 1, frequency, table)
            inside[slot] = frequency
        else:
            size = heap.remove(entries, size, int(table[slot, POSITION]) - 1, table)
            del inside[slot]
        check_heap(entries, size, table)
        assert {int(e & SLOT_MASK): int(e >> 32) for e in entries[:size]} == inside
        assert set(np.flatnonzero(table[:, POSITION]).tolist()) == set(inside)
    popped = []
    while size:
        popped.append(int(entries[0] >> 32))
        size = heap.remove(entries, size, 0, table)
    assert popped == sorted(inside.values(), reverse=True)


@given(seeds, st.integers(1, 300), st.sampled_from([2, 3, 17, 64]))
def test_table_equals_a_dictionary(seed, operations, slots):
    """Insert, look up, delete; long runs that wrap around the end; pages up to the largest index."""
    rng = np.random.default_rng(seed)
    table, heaps = np.zeros((slots, 4), np.uint32), np.zeros((1, 1), np.int64)
    pages = np.concatenate([rng.integers(0, 2**32 - 2, slots), [0, 2**32 - 2, 2**32 - 3]]).tolist()
    known: dict[int, int] = {}
    for number in range(operations):
        page = pages[rng.integers(0, len(pages))]
        slot = find(table, page)
        assert (table[slot, KEY] != 0) == (page in known)
        if page in known:
            assert table[slot, RECORD] == known[page]
            if rng.random() < 0.6:
                delete(table, heaps, slot)
                del known[page]
        elif len(known) < slots - 1:
            table[slot, KEY], table[slot, RECORD] = page + 1, number
            known[page] = number
    assert np.count_nonzero(table[:, KEY]) == len(known)
    for page, number in known.items():
        assert table[find(table, page), RECORD] == number


@given(st.integers(0, 2**32 - 2), st.integers(1, 2**31 - 1))
def test_home_is_a_slot(page, slots):
    assert 0 <= home(page, slots) < slots


def check_store(store: HashedStore, reference: HashedReference) -> None:
    """Records, heap membership and counts are the reference's; heaps are heaps."""
    arrays = store.arrays
    table = arrays.table
    used = table[table[:, KEY] != 0]
    assert {int(row[KEY]) - 1: int(row[RECORD]) & 7 for row in used} == {
        page: record.frequency for page, record in reference.records.items()
    }
    for index, size in enumerate(arrays.sizes.tolist()):
        check_heap(arrays.heaps[index], size, table)
        slots = arrays.heaps[index, :size] & SLOT_MASK
        assert set((table[slots, KEY].astype(np.int64) - 1).tolist()) == reference.heaps[index]
        assert (table[slots, HEAP] == index).all()
        assert (arrays.heaps[index, :size] >> 32 == table[slots, RECORD] & 7).all()
    counters = store.counters()
    assert counters["pghot_records_hash"] == len(reference.records)
    assert counters["pghot_records_heap"] == sum(map(len, reference.heaps.values()))
    assert counters["pghot_dropped_accesses"] == reference.unheard
    assert counters["pghot_heap_full"] == reference.heap_full


@settings(max_examples=60)
@given(
    seeds,
    st.sampled_from([(60, 1.0, 1.0), (60, 0.5, 0.25), (8, 0.5, 0.25), (1, 1.0, 1.0)]),
    st.integers(1, 7),
    st.booleans(),
    st.integers(1, 40),
)
def test_hashed_store_equals_its_reference(seed, shape, threshold, wraps, steps):
    """Random reports, takes, restores, forgets and pauses, in tables and heaps that are full or not."""
    pages, table_share, heap_share = shape
    rng = np.random.default_rng(seed)
    store = HashedStore(
        EngineSettings(
            "hashed",
            pages,
            4096,
            4,
            (0, 3),
            0,
            freq_threshold=threshold,
            batch_nr=3,
            table_share=table_share,
            heap_share=heap_share,
            faithful=frozenset({"frequency-wrap"} if wraps else ()),
        )
    )
    capacity = max(1, int(pages * table_share))
    reference = HashedReference(
        capacity,
        max(1, int(capacity * heap_share)),
        {None: 0, 0: 0, 1: 0, 2: 0, 3: 1},
        store.window_ms,
        threshold,
        wraps,
        heaps={0: set(), 1: set()},
    )
    place = rng.choice([0, 1, 2, 255], pages, p=[0.1, 0.5, 0.3, 0.1]).astype(np.uint8)
    now = int(rng.integers(0, 2**21))
    for _ in range(steps):
        now += int(rng.choice([0, 1, 100, 4999, 5001, 700_000], p=[0.3, 0.3, 0.2, 0.1, 0.08, 0.02]))
        swept = store._ageing.overdue(now)
        if swept:
            reference.prune(now, store._ageing.keep)
        if rng.random() < 0.7:
            rows = int(rng.integers(0, 30))
            accesses = Accesses(
                rng.integers(0, pages, rows).astype(np.uint32),
                rng.integers(-1, 4, rows).astype(np.int16),
                rng.choice([0, 1, 1, 2, 9], rows).astype(np.uint32),
                now,
                hint_fault=bool(rng.integers(0, 2)),
            )
            assert store.record(accesses, place, ELIGIBLE) == reference.record(accesses, place, ELIGIBLE)
        else:
            check_take(store, reference, now, rng)
        gone = rng.integers(0, pages, 2).astype(np.uint32)
        store.forget(gone)
        reference.forget(gone.tolist())
        check_store(store, reference)


def check_take(store: HashedStore, reference: HashedReference, now: int, rng: np.random.Generator) -> None:
    """The taken are the hottest of each heap; some go back to wait, some as history, the rest is gone."""
    rounds = int(rng.integers(1, 3))
    candidates = store.take(now, rounds)
    nodes = {0: 0, 1: 3}
    for index, members in reference.heaps.items():
        taken = candidates.page[candidates.node == nodes[index]].tolist()
        assert set(taken) <= members
        expected = sorted((reference.records[page].frequency for page in members), reverse=True)
        assert [reference.records[page].frequency for page in taken] == expected[: 3 * rounds]
    kept = rng.integers(0, 3, len(candidates))
    old = {page: reference.records[page] for page in candidates.page.tolist()}
    reference.forget(list(old))
    for fate, waiting in ((1, True), (2, False)):
        back = candidates.select(kept == fate)
        store.restore(back, waiting)
        for page in back.page.tolist():
            reference.records[page] = old[page]
            if waiting:
                reference.heaps[reference.heap_of[old[page].nid]].add(page)
