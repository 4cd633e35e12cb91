"""Which pages may move and what is counted of those that did, page by page."""

from __future__ import annotations

import numpy as np

from pghot.kernel.maps import MappingKind
from pghot.live.machine.eligibility import may_move, tally
from pghot.live.machine.pages import DEMOTED, NOWHERE, PROMOTED


def test_each_reason_why_a_page_may_not_move():
    rows = [
        # kind, place, marks, may move to node 0
        (MappingKind.MOVABLE, 1, 0, True),
        (MappingKind.MOVABLE, 254, 0b0000_1111, True),
        (MappingKind.SHARED, 1, 0, False),
        (MappingKind.UNMAPPED, 1, 0, False),
        (MappingKind.FILE, 1, 0, False),
        (MappingKind.MOVABLE, 0, 0, False),  # is there
        (MappingKind.MOVABLE, NOWHERE, 0, False),
        (MappingKind.MOVABLE, 1, 0b0010_0000, True),  # busy twice: bits 4 and 5
        (MappingKind.MOVABLE, 1, 0b0011_0000, False),  # busy three times
        (
            MappingKind.MOVABLE,
            1,
            0b1101_0000,
            True,
        ),  # once; refused by the compressed tier thrice, which is its own count
    ]
    kind, place, marks = (np.array([row[column] for row in rows], np.uint8) for column in range(3))
    fit = np.zeros(len(rows), np.bool_)
    may_move(kind, place, marks, np.arange(len(rows), dtype=np.uint32), 0, fit)
    assert fit.tolist() == [row[3] for row in rows]
    # In another order, and some only.
    fit = np.zeros(3, np.bool_)
    may_move(kind, place, marks, np.array([7, 5, 0], np.uint32), 0, fit)
    assert fit.tolist() == [True, False, True]


def test_promoted_demoted_and_returned_are_counted_and_marked():
    rank = np.array([1, 0, 2, 1])  # node 1 is the top, 2 the lowest
    rows = [
        # before, now, marks before, marks after a move to node 0 of tier 1
        (2, 0, 0, PROMOTED),
        (2, 0, DEMOTED, PROMOTED | DEMOTED),  # had been demoted: it returned
        (2, 0, DEMOTED | PROMOTED | 1, DEMOTED | PROMOTED | 1),
        (1, 0, 0, DEMOTED),
        (1, 0, PROMOTED, PROMOTED | DEMOTED),
        (3, 0, 0, 0),  # the same tier
        (0, 0, 0, 0),  # was there
        (2, 2, 0, 0),  # did not come
        (NOWHERE, 0, 0, 0),  # nobody knows from where
    ]
    before, place, marks, after = (np.array([row[column] for row in rows], np.uint8) for column in range(4))
    page = np.arange(len(rows), dtype=np.uint32)
    assert tally(place, marks, rank, page, before, 0) == (3, 2, 2)
    assert marks.tolist() == after.tolist()


def test_a_page_is_looked_up_by_its_number():
    place, marks = np.array([0, 0, 0, 1, 0], np.uint8), np.zeros(5, np.uint8)
    found = tally(place, marks, np.array([0, 1]), np.array([4, 3], np.uint32), np.array([1, 1], np.uint8), 0)
    assert found == (1, 0, 0)
    assert marks.tolist() == [0, 0, 0, 0, PROMOTED]
