"""What is kept for each section of pages, so that a round costs what was touched and not what is tracked.

Of each section and node: how many movable pages are there by the level of their heat, and how old the oldest of them
can be. Time passes for a section only when something in it is touched or asked for (`settle`): until then its heat and
ages are those of an earlier ageing period, and whoever reads them allows for the periods since.

The patch series of pghot has the same idea in its flag of sections with hot pages, for which kmigrated looks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pghot.arrays import I16, I64, U8, U16, U32, Int
from pghot.jit import njit
from pghot.kernel.maps import MappingKind
from pghot.live.machine.sections import SECTION_SHIFT
from pghot.policies.live_rules import OLDEST

LEVELS = 17  # the bits of a heat: 0, 1, 2-3, 4-7, ... 32768-65535
LEVEL_OF = np.frexp(np.arange(1 << 16))[1].astype(np.uint8)
_MOVABLE = int(MappingKind.MOVABLE)


class State(NamedTuple):
    """The arrays of `Pages` that the summaries follow, and the summaries, whose rows are `row_of` places.

    kind, place, age, heat  of each page
    counts   uint16[256, sections, LEVELS]  movable pages of each place and level; only places in use take memory
    oldest   uint8[256, sections]  no movable page there is older
    settled  int64[sections]  the ageing period of which `age`, `heat`, `counts` and `oldest` are
    rows     int64[1]  rows in use, the first ones
    """

    kind: U8
    place: U8
    age: U8
    heat: U16
    counts: U16
    oldest: U8
    settled: I64
    rows: I64


def summaries_of(kind: U8, place: U8, age: U8, heat: U16) -> State:
    """The state of pages in no section."""
    sections = (len(kind) - 1 >> SECTION_SHIFT) + 1
    return State(
        kind,
        place,
        age,
        heat,
        np.zeros((256, sections, LEVELS), np.uint16),
        np.zeros((256, sections), np.uint8),
        np.zeros(sections, np.int64),
        np.ones(1, np.int64),
    )


@njit(cache=True)
def row_of(place: int) -> int:
    """`NOWHERE` has the first row, node 0 the next."""
    return (place + 1) & 0xFF


@njit(cache=True)
def settle(s: State, section: int, period: int) -> None:
    """Let the periods pass that did not yet for this section: heat halves in each, age grows by one, saturating."""
    passed: Int = period - s.settled[section]
    if passed == 0:
        return
    halvings, older = min(passed, LEVELS - 1), min(passed, OLDEST)
    start = section << SECTION_SHIFT
    end = min(start + (1 << SECTION_SHIFT), s.age.shape[0])
    heat, age = s.heat[start:end], s.age[start:end]
    for i in range(heat.shape[0]):
        heat[i] >>= halvings
    for i in range(age.shape[0]):
        age[i] = min(age[i] + older, OLDEST)
    for row in range(s.rows[0]):
        of_level = s.counts[row, section]
        for level in range(1, LEVELS):
            pages = of_level[level]
            of_level[level] = 0
            of_level[max(level - halvings, 0)] += pages
        s.oldest[row, section] = min(s.oldest[row, section] + older, OLDEST)
    s.settled[section] = period


@njit(cache=True)
def settle_pages(s: State, page: U32, period: int) -> None:
    """`settle` the sections of these pages."""
    for i in range(page.shape[0]):
        settle(s, page[i] >> SECTION_SHIFT, period)


@njit(cache=True)
def warm(s: State, page: U32, count: U32, period: int) -> None:
    """Add `count` to the heat of each page (uint32[K] both), saturating at 65535; the pages are new again."""
    for i in range(page.shape[0]):
        p = page[i]
        section = p >> SECTION_SHIFT
        if s.settled[section] != period:
            settle(s, section, period)
        before: Int = np.int64(s.heat[p])
        hotter: Int = min(before + np.int64(count[i]), 65535)
        s.heat[p] = hotter
        s.age[p] = 0
        was, is_now = LEVEL_OF[before], LEVEL_OF[hotter]
        if was != is_now and s.kind[p] == _MOVABLE:
            row = row_of(s.place[p])
            s.counts[row, section, was] -= 1
            s.counts[row, section, is_now] += 1


@njit(cache=True)
def put(s: State, page: U32, place: U8) -> None:
    """These pages are on these nodes now (uint32[K], uint8[K])."""
    for i in range(page.shape[0]):
        p, to = page[i], place[i]
        before = s.place[p]
        if before == to:
            continue
        s.place[p] = to
        if s.kind[p] != _MOVABLE:
            continue
        section, level, row = p >> SECTION_SHIFT, LEVEL_OF[s.heat[p]], row_of(to)
        s.counts[row_of(before), section, level] -= 1
        s.counts[row, section, level] += 1
        s.oldest[row, section] = max(s.oldest[row, section], s.age[p])
        s.rows[0] = max(s.rows[0], row + 1)


@njit(cache=True)
def set_age(s: State, page: U32, age: int, period: int) -> None:
    """These pages (uint32[K]) are so old."""
    for i in range(page.shape[0]):
        p = page[i]
        section = p >> SECTION_SHIFT
        settle(s, section, period)
        s.age[p] = age
        row = row_of(s.place[p])
        s.oldest[row, section] = max(s.oldest[row, section], np.uint8(age))


@njit(cache=True)
def set_kind(s: State, page: U32, kind: int) -> None:
    """These pages (uint32[K]), whose kind is known otherwise than from their mapping, are not movable."""
    for i in range(page.shape[0]):
        p = page[i]
        if s.kind[p] == _MOVABLE:
            s.counts[row_of(s.place[p]), p >> SECTION_SHIFT, LEVEL_OF[s.heat[p]]] -= 1
        s.kind[p] = kind


@njit(cache=True)
def recount(s: State, section: int, period: int) -> None:
    """Make the summaries of a section from its pages."""
    settle(s, section, period)
    s.counts[: s.rows[0], section] = 0
    s.oldest[: s.rows[0], section] = 0
    start = section << SECTION_SHIFT
    for p in range(start, min(start + (1 << SECTION_SHIFT), s.age.shape[0])):
        if s.kind[p] == _MOVABLE:
            row = row_of(s.place[p])
            s.counts[row, section, LEVEL_OF[s.heat[p]]] += 1
            s.oldest[row, section] = max(s.oldest[row, section], s.age[p])
            s.rows[0] = max(s.rows[0], row + 1)


@njit(cache=True)
def count_placed(s: State, sections: I64, period: int, placed: I64, warm_ones: I64) -> None:
    """Add to int64[255] twice: the movable pages of these sections on each node, and those of them with some heat."""
    for section in sections:
        halvings = min(period - s.settled[section], LEVELS - 1)
        for row in range(1, s.rows[0]):
            for level in range(LEVELS):
                pages = np.int64(s.counts[row, section, level])
                placed[row - 1] += pages
                warm_ones[row - 1] += pages * (level > halvings)


@njit(cache=True)
def count_levels(s: State, sections: I64, period: int, of_level: I64, highest: U8) -> None:
    """The movable pages of these sections by the level of their heat, int64[LEVELS], and the highest level of each
    section, uint8[S]."""
    for i in range(sections.shape[0]):
        section = sections[i]
        halvings = min(period - s.settled[section], LEVELS - 1)
        for row in range(s.rows[0]):
            for level in range(halvings + 1, LEVELS):
                pages = np.int64(s.counts[row, section, level])
                of_level[level - halvings] += pages
                if pages:
                    highest[i] = max(highest[i], np.uint8(level - halvings))


@njit(cache=True)
def bound_ages(s: State, sections: I64, node: int, period: int, bound: I16) -> None:
    """int16[S]: no movable page of each section on `node` is older; -1 where there is none."""
    for i in range(sections.shape[0]):
        section = sections[i]
        pages = 0
        for level in range(LEVELS):
            pages += s.counts[row_of(node), section, level]
        passed = period - s.settled[section]
        bound[i] = min(s.oldest[row_of(node), section] + passed, OLDEST) if pages else -1
