"""Runs of neighbouring pages that all have some heat: one pass over the sections that have any."""

from __future__ import annotations

import numpy as np

from pghot.arrays import I64, U32, Int
from pghot.jit import njit
from pghot.kernel.maps import MappingKind
from pghot.live.machine.pages import Pages
from pghot.live.machine.sections import SECTION_PAGES, SECTION_SHIFT
from pghot.live.machine.summaries import LEVELS, State

_MOVABLE = int(MappingKind.MOVABLE)
_MOST = 0xFFFFFFFF


def runs(pages: Pages, sections: I64, keys: I64, least: int, join: bool) -> tuple[U32, U32, U32]:
    """The first page, length and heat of each run, uint32[R] three times, in the order of the sections.

    sections  int64[S]  to look at
    keys      int64[S]  the address range of each; neighbours differ by one
    least     pages with less heat do not count
    join      False: each page is a run of its own; True: as long as movable pages on one node follow each other

    The heat of a run is the sum over its pages, 2**32 - 1 at most.
    """
    none = np.empty(0, np.uint32)
    count = find_runs(pages.state, sections, keys, least, join, pages.period, none, none, none)
    found = (np.empty(count, np.uint32), np.empty(count, np.uint32), np.empty(count, np.uint32))
    if count:
        find_runs(pages.state, sections, keys, least, join, pages.period, *found)
    return found


@njit(cache=True)
def find_runs(
    s: State,
    sections: I64,
    keys: I64,
    least: int,
    join: bool,
    period: int,
    first: U32,
    length: U32,
    heat: U32,
) -> int:
    """Fill in the runs, or only return how many there are when the arrays have no elements."""
    fill = first.shape[0] > 0
    found: Int = np.int64(-1)
    next_page: Int = np.int64(-1)  # the number of the page after the last one, counted from address 0
    place: Int = np.int64(-1)
    for i in range(sections.shape[0]):
        start = sections[i] << SECTION_SHIFT
        address = keys[i] << SECTION_SHIFT
        halvings = min(period - s.settled[sections[i]], LEVELS - 1)
        at_least = least << halvings
        for offset in range(min(SECTION_PAGES, s.heat.shape[0] - start)):
            p = start + offset
            if s.heat[p] < at_least or s.kind[p] != _MOVABLE:
                continue
            if not (join and address + offset == next_page and s.place[p] == place):
                found += 1
                if fill:
                    first[found], length[found], heat[found] = p, 0, 0
            next_page, place = address + offset + 1, np.int64(s.place[p])
            if fill:
                length[found] += 1
                heat[found] = min(np.int64(heat[found]) + (s.heat[p] >> halvings), _MOST)
    return int(found + 1)
