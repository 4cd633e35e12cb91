"""The episodes of all pages of a run, compiled: one that is open for each page, and rows for those that end.

Each function takes a batch of pages. `state` is STATE[pages], `seen` uint32[2, pages, sources]. What a page did since
its last decision is kept apart: it belongs to that decision if the next one is the same, else to the next. Functions
that end episodes write them to `rows` (ROW[N]) and `rows_seen` (uint32[N, sources]) from `at` on, for which there must
be room, and return where the next goes.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from pghot.arrays import I32, I64, NOWHERE, U8, U32, Int
from pghot.decision_log.row_format import (
    DEMOTED,
    FREED,
    HELD,
    MOVED,
    NEVER,
    NO_WHY,
    NOT_TOLD,
    PLACED,
    PROMOTED,
    UNDECIDED,
    WHY_BALANCE,
    WHY_COLD,
    WHY_HOT,
)
from pghot.jit import njit

Records: TypeAlias = Any  # structured arrays: STATE or ROW

# touches, misses, seen_ms  up to the last decision; new_* since then
# why                       of the open episode, NO_WHY: none is open
# asked, asked_heat         why the policy wants it moved, until it is moved or held back
STATE = np.dtype(
    [
        *((name, np.uint32) for name in ("first_ms", "last_ms", "times")),
        *((name, np.uint32) for name in ("touches", "misses", "seen_ms")),
        *((name, np.uint32) for name in ("new_touches", "new_misses", "new_seen_ms")),
        *((name, np.int32) for name in ("heat", "asked_heat")),
        *((name, np.uint8) for name in ("why", "asked")),
    ],
    align=True,
)
_MOST = 0xFFFF_FFFF
MOST_ROWS = 2  # that one page can end at once


def new_state(pages: int) -> Records:
    """Before anything happened: STATE[pages]."""
    state = np.zeros(pages, STATE)
    state["seen_ms"] = state["new_seen_ms"] = NEVER
    state["heat"] = state["asked_heat"] = NOT_TOLD
    return state


@njit(cache=True)
def added(count: Any, more: Any) -> Any:
    """The sum of two uint32, cut to what one holds."""
    total: Int = np.int64(count) + np.int64(more)
    return np.uint32(min(total, _MOST))


@njit(cache=True)
def note_used(page: U32, touches: U32, misses: U32, state: Records) -> None:
    """The program touched these pages; a page may come twice."""
    for i in range(len(page)):
        s = state[page[i]]
        s.new_touches = added(s.new_touches, touches[i])
        s.new_misses = added(s.new_misses, misses[i])


@njit(cache=True)
def note_seen(page: U32, count: U32, source: int, now_ms: int, state: Records, seen: U32) -> None:
    """A source reported these pages; a page may come twice."""
    for i in range(len(page)):
        p = page[i]
        seen[1, p, source] = added(seen[1, p, source], count[i])
        state[p].new_seen_ms = np.uint32(now_ms)


@njit(cache=True)
def take_in(p: int, state: Records, seen: U32) -> None:
    """What the page did since its last decision belongs to this one."""
    s = state[p]
    s.touches = added(s.touches, s.new_touches)
    s.misses = added(s.misses, s.new_misses)
    if s.new_seen_ms != NEVER:
        s.seen_ms = s.new_seen_ms
    s.new_touches = s.new_misses = np.uint32(0)
    s.new_seen_ms = NEVER
    for source in range(seen.shape[2]):
        seen[0, p, source] = added(seen[0, p, source], seen[1, p, source])
        seen[1, p, source] = 0


@njit(cache=True)
def write_row(
    p: int,
    what: int,
    why: int,
    now_ms: int,
    state: Records,
    seen: U32,
    rows: Records,
    rows_seen: U32,
    at: int,
) -> int:
    """Write what the page did up to its last decision, now, and begin anew. Nodes and mover are the caller's."""
    s, row = state[p], rows[at]
    row.page, row.what, row.why, row.heat = np.uint32(p), np.uint8(what), np.uint8(why), s.heat
    row.touches, row.misses, row.seen_ms = s.touches, s.misses, s.seen_ms
    row.source = row.target = np.uint8(NOWHERE)
    row.by = np.uint8(0)
    row.times = np.uint32(1)
    row.first_ms = row.last_ms = np.uint32(now_ms)
    s.touches = s.misses = np.uint32(0)
    s.seen_ms, s.heat = NEVER, NOT_TOLD
    for source in range(seen.shape[2]):
        rows_seen[at, source] = seen[0, p, source]
        seen[0, p, source] = 0
    return at + 1


@njit(cache=True)
def end_episode(p: int, state: Records, seen: U32, rows: Records, rows_seen: U32, at: int) -> int:
    """Write the page's open episode, if it has one."""
    s = state[p]
    if s.why == NO_WHY:
        return at
    end = write_row(p, HELD, s.why, s.last_ms, state, seen, rows, rows_seen, at)
    rows[at].first_ms, rows[at].times = s.first_ms, s.times
    s.why = np.uint8(NO_WHY)
    return end


@njit(cache=True)
def note_held(
    page: U32,
    why: int,
    heat: I32,
    now_ms: int,
    state: Records,
    seen: U32,
    rows: Records,
    rows_seen: U32,
    at: int,
) -> int:
    """The policy left these pages where they are; a page may come twice. heat: int32[K], or of length 0."""
    for i in range(len(page)):
        p = page[i]
        s = state[p]
        if s.why != why:
            at = end_episode(p, state, seen, rows, rows_seen, at)
            s.why, s.first_ms, s.times = np.uint8(why), np.uint32(now_ms), np.uint32(0)
        s.times = np.uint32(s.times + 1)
        s.last_ms, s.asked = np.uint32(now_ms), np.uint8(NO_WHY)
        if len(heat):
            s.heat = heat[i]
        take_in(p, state, seen)
    return at


@njit(cache=True)
def note_asked(page: U32, why: int, heat: I32, state: Records) -> None:
    """The policy wants these pages moved. heat: int32[K], or of length 0."""
    for i in range(len(page)):
        s = state[page[i]]
        s.asked = np.uint8(why)
        s.asked_heat = heat[i] if len(heat) else NOT_TOLD


@njit(cache=True)
def note_moved(
    page: U32,
    source: U8,
    target: int,
    by: int,
    rank: I64,
    now_ms: int,
    state: Records,
    seen: U32,
    rows: Records,
    rows_seen: U32,
    at: int,
) -> int:
    """The pages went to another node, or were freed (target NOWHERE).

    source  uint8[K]      the node of each before
    rank    int64[nodes]  0 = top
    """
    for i in range(len(page)):
        p = page[i]
        s = state[p]
        asked = s.asked
        at = end_episode(p, state, seen, rows, rows_seen, at)
        s.asked = np.uint8(NO_WHY)
        take_in(p, state, seen)
        if target == NOWHERE:
            what = FREED
        elif rank[target] < rank[source[i]]:
            what = PROMOTED
        elif rank[target] > rank[source[i]]:
            what = DEMOTED
        else:
            what = MOVED
        fits = (what == PROMOTED and asked == WHY_HOT) or (what == DEMOTED and asked == WHY_COLD)
        why = asked if fits or asked == WHY_BALANCE else NO_WHY
        if why != NO_WHY:  # else it was not the policy that chose it
            s.heat = s.asked_heat
        end = write_row(p, what, why, now_ms, state, seen, rows, rows_seen, at)
        row = rows[at]
        row.source, row.target, row.by = source[i], np.uint8(target), np.uint8(by)
        at = end
    return at


@njit(cache=True)
def note_placed(
    page: U32, place: U8, now_ms: int, state: Records, seen: U32, rows: Records, rows_seen: U32, at: int
) -> int:
    """Those of these distinct pages that are on a node (uint8[K]) got it now, at their first touch."""
    for i in range(len(page)):
        if place[i] != NOWHERE:
            at = end_episode(page[i], state, seen, rows, rows_seen, at)
            end = write_row(page[i], PLACED, NO_WHY, now_ms, state, seen, rows, rows_seen, at)
            rows[at].target = place[i]
            at = end
    return at


@njit(cache=True)
def note_end(
    first: int, last: int, now_ms: int, state: Records, seen: U32, rows: Records, rows_seen: U32, at: int
) -> int:
    """The run is over for the pages [first, last): end their episodes, and write what came after."""
    for p in range(first, last):
        at = end_episode(p, state, seen, rows, rows_seen, at)
        s = state[p]
        if s.new_touches or s.new_seen_ms != NEVER:
            take_in(p, state, seen)
            at = write_row(p, UNDECIDED, NO_WHY, now_ms, state, seen, rows, rows_seen, at)
    return at
