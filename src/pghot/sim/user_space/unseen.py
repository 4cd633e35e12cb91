"""How long pages have gone unseen, compiled: an ageing period for each page, and who is demoted first."""

from __future__ import annotations

import numpy as np

from pghot.arrays import I32, U8, U32, Bool
from pghot.jit import njit
from pghot.policies.live_rules import COLD_AGE, OLDEST, RETURNED_AGE


@njit(cache=True)
def note_seen(page: U32, period: int, seen: I32, last: U32) -> int:
    """Pages were reported in this ageing period; returns how many different ones.

    page  uint32[K]
    seen  int32[pages]   number of the period in which each was seen last; updated
    last  uint32[pages]  scratch
    """
    for position in range(len(page)):
        seen[page[position]] = period
        last[page[position]] = position
    different = 0
    for position in range(len(page)):
        different += last[page[position]] == position
    return different


@njit(cache=True)
def longest_unseen(
    node: int, pages: int, period: int, place: U8, seen: I32, was_promoted: Bool, was_demoted: Bool
) -> U32:
    """Up to `pages` cold pages on `node`, longest unseen first, equally old ones by their number: uint32[K].

    place, seen                uint8[pages], int32[pages]  node, and number of the period in which each was seen last
    was_promoted, was_demoted  bool[pages]  a page that was both stays longer
    """
    cold, ages = np.empty(len(place), np.uint32), np.empty(len(place), np.uint8)
    held = np.zeros(OLDEST + 1, np.int64)
    found = 0
    for page in range(len(place)):
        if place[page] != node:
            continue
        age = min(period - seen[page], OLDEST)
        if age >= (RETURNED_AGE if was_promoted[page] and was_demoted[page] else COLD_AGE):
            cold[found], ages[found] = page, age
            held[age] += 1
            found += 1
    older = 0  # `held` becomes the position of the next page of each age
    for age in range(OLDEST, -1, -1):
        older += held[age]
        held[age] = older - held[age]
    chosen = np.empty(min(pages, found), np.uint32)
    for each in range(found):
        position = held[ages[each]]
        held[ages[each]] += 1
        if position < len(chosen):
            chosen[position] = cold[each]
    return chosen
