"""Which of some pages are on a node below the top tier."""

from __future__ import annotations

import numpy as np

from pghot.arrays import U8, U32, Bool
from pghot.jit import njit
from pghot.policies.machine import Machine


def below_top(machine: Machine, page: U32) -> U32:
    """Those of the pages that are on a node below the top tier."""
    out = np.empty_like(page)
    return out[: take_below(page, machine.place, machine.lower, out)]


@njit(cache=True)
def take_below(page: U32, place: U8, lower: Bool, out: U32) -> int:
    """Write those of the pages to `out` (uint32[K], as `page`), in order; returns how many."""
    found = 0
    for each in page:
        node = place[each]
        out[found] = each
        found += node < len(lower) and lower[node]
    return found


def others(page: U32, marked: Bool) -> U32:
    """Those of the pages that are not marked (bool[pages])."""
    out = np.empty_like(page)
    return out[: take_others(page, marked, out)]


@njit(cache=True)
def take_others(page: U32, marked: Bool, out: U32) -> int:
    """Write those of the pages to `out` (uint32[K], as `page`), in order; returns how many."""
    found = 0
    for each in page:
        out[found] = each
        found += not marked[each]
    return found
