"""The heaps by worked examples: entries are frequency << 32 | slot, the table knows the place plus one."""

from __future__ import annotations

import numpy as np

from pghot.engine import heap
from pghot.engine.heap import POSITION


def entry(frequency: int, slot: int) -> int:
    return frequency * 4_294_967_296 + slot  # 2**32


def build(*frequencies: int):
    """Slots 1, 2, ... pushed in order."""
    entries, table, size = np.zeros(10, np.int64), np.zeros((12, 4), np.uint32), 0
    for slot, frequency in enumerate(frequencies, 1):
        size = heap.push(entries, size, slot, frequency, table)
    return entries, table, size


def test_a_hotter_entry_rises_past_colder_parents_only():
    # 3; then 5 above it; then 4 under 5; then 5 under the older 5, in the place of 3, which sinks below.
    entries, table, size = build(3, 5, 4, 5)
    assert size == 4
    assert entries[:5].tolist() == [entry(5, 2), entry(5, 4), entry(4, 3), entry(3, 1), 0]
    assert table[:6, POSITION].tolist() == [0, 4, 1, 3, 2, 0]


def test_equal_entries_stay_in_their_order():
    entries, _, _ = build(2, 2, 2)
    assert entries[:3].tolist() == [entry(2, 1), entry(2, 2), entry(2, 3)]


def test_taking_the_hottest_lets_the_last_one_sink_below_its_hotter_child():
    #        7                    6
    #    5       6      ->    5       4
    #  3   4   1 (slots in order; the last, 1, goes to the top and sinks to the right below 6)
    entries, table, size = build(7, 5, 6, 3, 4, 1)
    size = heap.remove(entries, size, 0, table)
    assert size == 5
    assert entries[:5].tolist() == [entry(6, 3), entry(5, 2), entry(1, 6), entry(3, 4), entry(4, 5)]
    assert table[:7, POSITION].tolist() == [0, 0, 2, 1, 4, 5, 3]


def test_sinking_goes_on_to_the_bottom_and_to_an_only_child():
    #        7                   5
    #    5       2      ->    3      2
    #  3                    (slot 4, frequency 3, is the last one: it goes to the top and sinks one step)
    entries, table, size = build(7, 5, 2, 3)
    size = heap.remove(entries, size, 0, table)
    assert entries[:size].tolist() == [entry(5, 2), entry(3, 4), entry(2, 3)]
    assert table[:5, POSITION].tolist() == [0, 0, 1, 3, 2]
    # Of two entries the colder sinks below its only child.
    entries, table, size = build(7, 5)
    heap.change(entries, size, 0, 1, table)
    assert entries[:2].tolist() == [entry(5, 2), entry(1, 1)]
    assert table[1:3, POSITION].tolist() == [2, 1]


def test_an_entry_taken_from_the_middle_is_replaced_by_one_that_may_have_to_rise():
    #            7
    #       2         6
    #     1   1     5   5      taking the left 1 puts the last 5 below 2: it rises to 2's place
    entries, table, size = build(7, 2, 6, 1, 1, 5, 5)
    size = heap.remove(entries, size, 3, table)
    assert entries[:size].tolist() == [
        entry(7, 1), entry(5, 7), entry(6, 3), entry(2, 2), entry(1, 5), entry(5, 6),
    ]  # fmt: skip
    assert table[:8, POSITION].tolist() == [0, 1, 4, 3, 0, 5, 6, 2]


def test_taking_the_last_one_moves_nothing():
    entries, table, size = build(7, 5)
    assert heap.remove(entries, size, 1, table) == 1
    assert entries[0] == entry(7, 1)
    assert table[:3, POSITION].tolist() == [0, 1, 0]


def test_a_changed_frequency_moves_the_entry_up_or_down():
    entries, table, size = build(5, 4, 3)
    heap.change(entries, size, 2, 6, table)
    assert entries[:3].tolist() == [entry(6, 3), entry(4, 2), entry(5, 1)]
    heap.change(entries, size, 0, 1, table)
    assert entries[:3].tolist() == [entry(5, 1), entry(4, 2), entry(1, 3)]
    assert table[1:4, POSITION].tolist() == [1, 2, 3]
