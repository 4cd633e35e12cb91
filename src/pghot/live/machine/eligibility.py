"""Which pages may move, and what came of it: one pass each over the state of pages that should move together."""

from __future__ import annotations

from pghot.arrays import I64, NOWHERE, U8, U32, Bool, Int
from pghot.jit import njit
from pghot.kernel.maps import MappingKind
from pghot.live.machine.pages import DEMOTED, MOST_TRIES, PROMOTED, RETRY_SHIFT
from pghot.live.machine.sections import ABSENT

BUSY_RETRIES = 3
_MOVABLE = int(MappingKind.MOVABLE)


@njit(cache=True)
def may_move(kind: U8, place: U8, marks: U8, page: U32, target: Int, fit: Bool) -> None:
    """Mark in `fit` (bool[K]) those of the pages that are elsewhere, are movable, and were not busy too often."""
    for i in range(page.shape[0]):
        p = page[i]
        tries: Int = (marks[p] >> RETRY_SHIFT) & MOST_TRIES
        fit[i] = kind[p] == _MOVABLE and place[p] != NOWHERE and place[p] != target and tries < BUSY_RETRIES


@njit(cache=True)
def count_kinds(kind: U8, page: U32, movable: Bool, count: I64) -> None:
    """Mark in `movable` (bool[K]) which of the pages are (uint32[K], `FOREIGN` and `ABSENT` too), and add the others by
    their kind."""
    for i in range(page.shape[0]):
        p = page[i]
        movable[i] = p < ABSENT and kind[p] == _MOVABLE
        if p < ABSENT and not movable[i]:
            count[kind[p]] += 1


@njit(cache=True)
def tally(place: U8, marks: U8, rank: I64, page: U32, before: U8, target: Int) -> tuple[Int, Int, Int]:
    """Mark the pages that came to `target` as promoted or demoted by what they were `before` (uint8[K]).

    rank  int64[nodes]: tier of each node, 0 = top
    Returns how many were promoted, how many demoted, and how many of the promoted had been demoted once.
    """
    promoted: Int = 0
    demoted: Int = 0
    returned: Int = 0
    for i in range(page.shape[0]):
        p = page[i]
        if place[p] != target or before[i] == target or before[i] == NOWHERE:
            continue
        if rank[before[i]] > rank[target]:
            promoted += 1
            returned += (marks[p] & DEMOTED) != 0
            marks[p] |= PROMOTED
        elif rank[before[i]] < rank[target]:
            demoted += 1
            marks[p] |= DEMOTED
    return promoted, demoted, returned
