"""The longest unseen pages of many sections, found without looking at all of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pghot.arrays import I16, I64, U8, U32
from pghot.policies.live_rules import OLDEST


def coldest(
    sections: I64, bound: I16, least_age: int, most: int, look: Callable[[int], tuple[U32, U8]]
) -> U32:
    """Up to `most` pages, the oldest first and equals in the order of `sections`; in that order alone if there are no
    more.

    sections  int64[S]
    bound     int16[S]  no page of a section is older
    look      gives the pages of a section, uint32[K] ascending, and their ages, uint8[K]

    The sections that can have the oldest pages are looked at first, and only until no other can have one of these.
    """
    parts: list[tuple[int, U32, U8]] = []
    of_age = np.zeros(OLDEST + 1, np.int64)
    turns = np.argsort(-bound, kind="stable")
    at_bound = (
        0  # pages as old as the bound, of sections with that bound: they come before those of the next ones
    )
    last_bound = -1
    complete = True
    for turn in turns[bound[turns] >= least_age].tolist():
        highest = int(bound[turn])
        at_bound = at_bound if highest == last_bound else 0
        last_bound = highest
        if int(of_age[highest + 1 :].sum()) + at_bound >= most:
            complete = False
            break
        page, ages = look(int(sections[turn]))
        of_age += np.bincount(ages, minlength=OLDEST + 1)
        at_bound += int(np.count_nonzero(ages == highest))
        parts.append((turn, page, ages))
    if not parts:
        return np.empty(0, np.uint32)
    parts.sort(key=lambda part: part[0])
    page, ages = np.concatenate([part[1] for part in parts]), np.concatenate([part[2] for part in parts])
    if complete and len(page) <= most:
        return page
    oldest_first: U32 = page[np.argsort(OLDEST - ages, kind="stable")[:most]]
    return oldest_first
