"""Many lines of a journal about one program or file made into few that say the same, a bounded step at a time.

A daemon writes a short line each time that pages move, and writes pages again that were given up and mapped anew. What
such lines say of a page is what the oldest of them does, and whether any of them moved it shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pghot.arrays import U64
from pghot.live.journal_runs import (
    END_VPN,
    LINE_PAGES,
    LINE_RUNS,
    RUN,
    Line,
    Runs,
    counted,
    packed_line,
    unpack,
)

STEP_RUNS = 1 << 14  # some 10 ms
_SHARED = 1 << 8  # beside a run's node
_BLOCK_PAGES = LINE_PAGES // 4  # no run crosses a multiple of it, so that each fits into a line


def merged(lines: Sequence[Line]) -> Iterator[Line | None]:
    """Lines that name each page once, ascending; None after each step that made none, so that the caller may pause."""
    sorted_ones: list[Line] = []
    for each in _gathered(lines):
        if each is not None:
            sorted_ones.append(each)
        yield None
    pending = np.empty(0, RUN)
    for window in _windows(sorted_ones):
        if window is not None:
            pending = _joined(np.concatenate((pending, _oldest(window))))
            if len(pending) >= STEP_RUNS:
                yield from _lines_of(pending)
                pending = pending[:0]
        yield None
    yield from _lines_of(pending)


def _gathered(lines: Sequence[Line]) -> Iterator[Line | None]:
    """Neighbouring short lines as one, in the same order; long ones as they are."""
    short: list[Runs] = []
    count = 0
    for line in lines:
        runs = _flagged(line)
        long = len(runs) >= STEP_RUNS
        if not long:
            short.append(runs)
            count += len(runs)
        if long or count >= STEP_RUNS:
            yield from _lines_of(_joined(_oldest(short)))
            short, count = [], 0
        yield line if long else None
    yield from _lines_of(_joined(_oldest(short)))


def _flagged(line: Line) -> Runs:
    runs = unpack(line.packed)
    runs["node"] |= _SHARED * line.shared
    return runs


def _windows(lines: Sequence[Line]) -> Iterator[list[Runs] | None]:
    """All runs in parts of ascending addresses, each with about `STEP_RUNS`: of each line one array, the oldest first.

    Lines are unpacked when their addresses are reached, one a step.
    """
    waiting = sorted(range(len(lines)), key=lambda age: lines[age].first, reverse=True)
    reached: dict[int, Runs] = {}
    while waiting or reached:
        while not reached or (waiting and lines[waiting[-1]].first < _end(reached)):
            age = waiting.pop()
            reached[age] = _flagged(lines[age])
            yield None
        end = _end(reached)
        yield [_cut_off(reached, age, end) for age in sorted(reached)]


def _end(reached: dict[int, Runs]) -> int:
    """Before this address there are about `STEP_RUNS`."""
    most = max(1, STEP_RUNS // len(reached))
    return min(
        (int(runs["first"][most]) for runs in reached.values() if len(runs) > most), default=int(END_VPN)
    )


def _cut_off(reached: dict[int, Runs], age: int, end: int) -> Runs:
    """Take what is before `end` from the runs of a line."""
    runs = reached.pop(age)
    count = int(np.searchsorted(runs["first"], np.uint64(end)))
    before = runs[:count].copy()
    if count and (over := int(before["first"][-1]) + int(before["pages"][-1]) - end) > 0:
        before["pages"][-1] -= over
        count -= 1
        runs["first"][count], runs["pages"][count] = end, over
    if count < len(runs):
        reached[age] = runs[count:]
    return before


def _oldest(parts: Sequence[Runs]) -> Runs:
    """The runs of several lines, the oldest first, as ascending ones of what the oldest says of each page."""
    runs = np.concatenate([np.empty(0, RUN), *parts])
    ends = runs["first"] + runs["pages"]
    cuts = np.unique(np.concatenate((runs["first"], ends, _blocks_within(runs))))
    first, after = np.searchsorted(cuts, runs["first"]), np.searchsorted(cuts, ends)
    between = counted(first.astype(np.uint64), after - first).astype(np.int64)
    node = np.repeat(runs["node"], after - first)
    held, oldest = np.unique(between, return_index=True)
    found = np.empty(len(held), RUN)
    found["first"], found["pages"] = cuts[held], cuts[held + 1] - cuts[held]
    shared = np.isin(held, between[node >= _SHARED])
    found["node"] = node[oldest] | np.where(shared, _SHARED, 0)
    return found


def _blocks_within(runs: Runs) -> U64:
    """Where long runs are cut, so that none is too long for a line: at the multiples of `_BLOCK_PAGES`."""
    first, last = runs["first"] // _BLOCK_PAGES, (runs["first"] + runs["pages"] - 1) // _BLOCK_PAGES
    return counted(first + 1, last - first) * np.uint64(_BLOCK_PAGES)


def _joined(runs: Runs) -> Runs:
    """Ascending runs with neighbours made one, but for those in different blocks."""
    ends, block = runs["first"] + runs["pages"], runs["first"] // _BLOCK_PAGES
    apart = (
        (runs["first"][1:] != ends[:-1]) | (runs["node"][1:] != runs["node"][:-1]) | (block[1:] != block[:-1])
    )
    starts = np.flatnonzero(np.concatenate((np.ones(min(1, len(runs)), np.bool_), apart)))
    found = runs[starts]
    if len(starts):
        found["pages"] = np.add.reduceat(runs["pages"], starts, dtype=np.uint32)
    return found


def _lines_of(runs: Runs) -> Iterator[Line]:
    """Lines of these runs, each of either those that moved shared or of the others."""
    pages = runs["pages"].astype(np.int64)
    part = (np.cumsum(pages) - pages) // (LINE_PAGES // 2)
    for each in np.unique(part).tolist():
        for shared in (False, True):
            mine = runs[(part == each) & ((runs["node"] >= _SHARED) == shared)]
            for begin in range(0, len(mine), LINE_RUNS):
                yield packed_line(mine[begin : begin + LINE_RUNS], shared)
