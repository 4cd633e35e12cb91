"""Slow, plain versions of the kernels of `pghot.live.machine.eligibility`."""

from __future__ import annotations

import numpy as np

from pghot.arrays import I64, NOWHERE, U8, U32, Bool
from pghot.kernel.maps import MappingKind
from pghot.live.machine.eligibility import BUSY_RETRIES
from pghot.live.machine.pages import DEMOTED, MOST_TRIES, PROMOTED, RETRY_SHIFT
from pghot.live.machine.sections import ABSENT, FOREIGN


def may_move_reference(kind: U8, place: U8, marks: U8, page: U32, target: int, fit: Bool) -> None:
    """`may_move` in NumPy."""
    tries = (marks[page] >> np.uint8(RETRY_SHIFT)) & np.uint8(MOST_TRIES)
    elsewhere = (place[page] != NOWHERE) & (place[page] != target)
    fit[:] = (kind[page] == MappingKind.MOVABLE) & elsewhere & (tries < BUSY_RETRIES)


def count_kinds_reference(kind: U8, page: U32, movable: Bool, count: I64) -> None:
    """`count_kinds`, a page at a time."""
    for i, each in enumerate(page.tolist()):
        tracked = each not in (int(FOREIGN), int(ABSENT))
        movable[i] = tracked and kind[each] == MappingKind.MOVABLE
        if tracked and kind[each] != MappingKind.MOVABLE:
            count[kind[each]] += 1


def tally_reference(
    place: U8, marks: U8, rank: I64, page: U32, before: U8, target: int
) -> tuple[int, int, int]:
    """`tally` in NumPy, for pages that are each there once."""
    came = (place[page] == target) & (before != target) & (before != NOWHERE)
    went, was = page[came], rank[before[came]]
    promoted, demoted = went[was > rank[target]], went[was < rank[target]]
    returned = int(np.count_nonzero(marks[promoted] & DEMOTED))
    marks[promoted] |= PROMOTED
    marks[demoted] |= DEMOTED
    return len(promoted), len(demoted), returned
