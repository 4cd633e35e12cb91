"""The hash table by worked examples with 8 slots.

A page's slot is the integer part of 8 * fraction(page * 0.6180339887): page 0 -> 0; 1 -> 4 (0.618); 2 -> 1 (0.236);
3 -> 6 (0.854); 5 -> 0 (0.090); 8 -> 7 (0.944); 16 -> 7 (0.889).
"""

from __future__ import annotations

import numpy as np
import pytest

from pghot.engine.heap import POSITION
from pghot.engine.table import HEAP, KEY, RECORD, delete, find, home


def build(*pages: int) -> np.ndarray:
    """A table with these pages entered in order; a record is the page times ten."""
    table = np.zeros((8, 4), np.uint32)
    for page in pages:
        table[find(table, page), [KEY, RECORD]] = page + 1, page * 10
    return table


def pages_by_slot(table: np.ndarray) -> list[int]:
    """The page in each slot, -1 where there is none."""
    return [int(key) - 1 for key in table[:, KEY]]


@pytest.mark.parametrize("page, slot", [(0, 0), (1, 4), (2, 1), (3, 6), (5, 0), (8, 7), (16, 7)])
def test_home(page, slot):
    assert home(page, 8) == slot
    assert home(np.uint32(page), 8) == slot


def test_home_of_the_largest_page():
    # (2**32 - 2) * 2654435769 = -2 * 2654435769 = 3281063054 modulo 2**32; * 100 / 2**32 = 76.39.
    assert home(2**32 - 2, 100) == 76


def test_a_page_whose_slot_is_taken_goes_to_the_next_free_one_around_the_end():
    assert pages_by_slot(build(8, 16, 2, 0)) == [16, 2, 0, -1, -1, -1, -1, 8]
    assert [find(build(8, 16, 2, 0), page) for page in (8, 16, 2, 0, 5)] == [7, 0, 1, 2, 3]


def test_deleting_shifts_back_what_had_to_go_past_the_gap_and_nothing_else():
    table, heaps = build(8, 16, 2, 0, 1), np.zeros((1, 1), np.int64)
    delete(table, heaps, 7)
    # 16 returns to its slot 7; 2 is in its slot 1 and stays; 0 comes to slot 0; 1, behind a free slot, stays.
    assert pages_by_slot(table) == [0, 2, -1, -1, 1, -1, -1, 16]
    assert table[:, RECORD].tolist() == [0, 20, 0, 0, 10, 0, 0, 160]
    assert (table[2] == 0).all()


def test_deleting_the_end_of_a_run_shifts_nothing():
    table, heaps = build(8, 16, 2, 0), np.zeros((1, 1), np.int64)
    delete(table, heaps, 2)
    assert pages_by_slot(table) == [16, 2, -1, -1, -1, -1, -1, 8]


def test_a_shifted_page_keeps_its_place_in_its_heap():
    table, heaps = build(8, 16), np.zeros((2, 3), np.int64)
    # 16 lies in slot 0 and is second in heap 1, with frequency 5.
    heaps[1, 1] = 5 * 2**32 + 0
    table[0, [POSITION, HEAP]] = 2, 1
    delete(table, heaps, 7)
    assert pages_by_slot(table) == [-1, -1, -1, -1, -1, -1, -1, 16]
    assert heaps.tolist() == [[0, 0, 0], [0, 5 * 2**32 + 7, 0]]
    assert table[7].tolist() == [17, 160, 2, 1]
    # And from slot 7 back to a lower one: 5 lies behind 0, and moves from slot 1 to 0.
    table = build(0, 5)
    heaps[0, 2] = 3 * 2**32 + 1
    table[1, [POSITION, HEAP]] = 3, 0
    delete(table, heaps, 0)
    assert heaps[0].tolist() == [0, 0, 3 * 2**32]
