"""Slices cut into finer ones, and fine ones joined, so that no slice of a replay is longer than asked.

Cutting deals the events of a slice out at random, as if the program were stationary inside it: nothing is known of the
order there. A burst stays whole: a sequential walk over a page is one event, whichever part it falls into. Every column
adds up exactly to what it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pghot.arrays import I16, I64, U16, U32, U64, Int
from pghot.jit import njit
from pghot.recording.trace import SliceBatch
from pghot.sim.sources.sampling import next_unit

_SALT = 0x8CB92BA72F3D8DD7


@njit(cache=True)
def binomial(events: int, chance: float, rng: U64) -> int:
    """How many of `events` happen, each with this chance.

    rng  uint64[1], state of the generator

    It jumps from hit to hit. Above 64 expected hits (or misses) it is the nearest integer to a normal variable.
    """
    if events <= 0 or chance <= 0.0:
        return 0
    if chance >= 1.0:
        return events
    if chance > 0.5:
        return events - binomial(events, 1.0 - chance, rng)
    mean = events * chance
    if mean > 64.0:
        radius = math.sqrt(-2.0 * math.log(1.0 - next_unit(rng)))
        normal = radius * math.cos(2.0 * math.pi * next_unit(rng))
        return min(events, max(0, round(mean + normal * math.sqrt(mean * (1.0 - chance)))))
    hits = at = 0
    per_jump = math.log(1.0 - chance)
    while True:
        at += 1 + int(math.log(1.0 - next_unit(rng)) / per_jump)
        if at > events:
            return hits
        hits += 1


@njit(cache=True)
def deal(
    touches: U32,
    misses: U32,
    sequential: U32,
    writes: U32,
    parts: int,
    rng: U64,
    out_row: U32,
    out_part: U16,
    out_touches: U32,
    out_misses: U32,
    out_sequential: U32,
    out_writes: U32,
) -> int:
    """Deal the rows of a slice out to `parts` (at most 65535); returns how many rows that makes.

    touches, misses, sequential, writes  uint32[R]: the rows
    out_row, out_part  the row that each new one is part of (ascending), and the part; then its columns. Room for
                       min(touches, parts) of each row

    Each miss that is not sequential begins a burst: the sequential ones after it and, if the row mostly runs
    sequentially, its touches go where it goes. Other touches that miss nothing are dealt one by one.
    """
    made = 0
    bursts = np.empty(parts, np.int64)
    hits = np.empty(parts, np.int64)
    for row in range(len(touches)):
        touched: Int = np.int64(touches[row])
        missed: Int = np.int64(misses[row])
        ran: Int = np.int64(sequential[row])
        stored: Int = np.int64(writes[row])
        begun = missed - ran
        starts = max(begun, 1)  # a burst may have begun in the slice before
        draw(starts if missed else 0, parts, rng, bursts)
        walks = 2 * ran > missed
        draw(0 if walks else touched - missed, parts, rng, hits)
        offset = next_unit(rng)
        # Running totals, so that the parts add up: what is dealt is the share so far, rounded.
        gone = hit = before_touched = before_missed = before_ran = before_stored = 0
        for part in range(parts):
            if bursts[part] == 0 and hits[part] == 0:
                continue
            gone += bursts[part]
            hit += hits[part]
            so_far_ran = int(ran * gone / starts + offset)
            so_far_missed = int(begun * gone / starts + offset) + so_far_ran
            so_far_touched = so_far_missed + (
                int((touched - missed) * gone / starts + offset) if walks else hit
            )
            so_far_stored = int(stored * so_far_touched / touched + offset)
            if so_far_touched > before_touched:
                out_row[made], out_part[made] = row, part
                out_touches[made] = so_far_touched - before_touched
                out_misses[made] = so_far_missed - before_missed
                out_sequential[made] = so_far_ran - before_ran
                out_writes[made] = so_far_stored - before_stored
                made += 1
            before_touched, before_missed = so_far_touched, so_far_missed
            before_ran, before_stored = so_far_ran, so_far_stored
    return made


@njit(cache=True)
def draw(events: int, parts: int, rng: U64, out: I64) -> None:
    """Throw `events` into `parts` at random: int64[parts], which adds up to `events`."""
    if events < 2 * parts:
        out[:] = 0
        for _ in range(events):
            out[int(next_unit(rng) * parts)] += 1
        return
    left = events
    for part in range(parts):
        out[part] = binomial(left, 1.0 / (parts - part), rng)
        left -= out[part]


def cut_slice(batch: SliceBatch, index: int, parts: int, seed: int) -> SliceBatch:
    """Slice `index` cut into this many: its events dealt out at random, its instructions evenly."""
    rows = slice(batch.offsets[index], batch.offsets[index + 1])
    touches = batch.touches[rows]
    most = int(np.minimum(touches, parts).sum(dtype=np.int64))
    row, part = np.empty(most, np.uint32), np.empty(most, np.uint16)
    dealt = [np.empty(most, np.uint32) for _ in range(4)]
    rng = np.array([(seed * 0x9E3779B97F4A7C15 + _SALT) % (1 << 64) or 1], np.uint64)
    made = deal(
        touches, batch.misses[rows], batch.sequential[rows], batch.writes[rows], parts, rng,
        row, part, dealt[0], dealt[1], dealt[2], dealt[3],
    )  # fmt: skip
    order = np.argsort(part[:made], kind="stable")
    row = row[order]
    touched, missed, sequential, written = (column[order] for column in dealt)
    edges = np.arange(parts + 1) * int(batch.instructions[index]) // parts
    return SliceBatch(
        start_ns=np.full(parts, batch.start_ns[index]),
        instructions=np.diff(edges).astype(np.uint64),
        offsets=np.concatenate([[0], np.cumsum(np.bincount(part[:made], minlength=parts))]).astype(np.int64),
        page=batch.page[rows][row],
        touches=touched,
        misses=missed,
        sequential=sequential,
        writes=written,
        node=batch.node[rows][row],
    )


@dataclass(frozen=True, slots=True)
class Piece:
    """Slices `first` to `last` (not included) of a batch."""

    batch: SliceBatch
    first: int
    last: int

    @property
    def rows(self) -> slice:
        return slice(self.batch.offsets[self.first], self.batch.offsets[self.last])

    def alone(self) -> SliceBatch:
        """These slices as a batch; no column is copied."""
        batch, rows, slices = self.batch, self.rows, slice(self.first, self.last)
        return SliceBatch(
            start_ns=batch.start_ns[slices],
            instructions=batch.instructions[slices],
            offsets=batch.offsets[self.first : self.last + 1] - batch.offsets[self.first],
            page=batch.page[rows],
            touches=batch.touches[rows],
            misses=batch.misses[rows],
            sequential=batch.sequential[rows],
            writes=batch.writes[rows],
            node=batch.node[rows],
        )


class Joiner:
    """Joins slices of a trace with so many pages and nodes; keeps scratch space for that."""

    def __init__(self, pages: int, nodes: int) -> None:
        self._nodes = nodes
        self._sums = np.zeros((pages * nodes, 4), np.uint32)
        self._keys = np.empty(pages * nodes, np.uint32)

    def join(self, pieces: Sequence[Piece]) -> SliceBatch:
        """One slice with the rows of all these: a row for each page and node."""
        found = 0
        for piece in pieces:
            batch, rows = piece.batch, piece.rows
            found = add_rows(
                batch.page[rows], batch.node[rows], batch.touches[rows], batch.misses[rows],
                batch.sequential[rows], batch.writes[rows], self._nodes, self._sums, self._keys, found,
            )  # fmt: skip
        key = np.sort(self._keys[:found])
        sums = self._sums[key]
        self._sums[key] = 0
        touches, misses, sequential, writes = (np.ascontiguousarray(sums[:, column]) for column in range(4))
        first = pieces[0]
        return SliceBatch(
            start_ns=first.batch.start_ns[first.first : first.first + 1],
            instructions=np.array(
                [sum(int(p.batch.instructions[p.first : p.last].sum()) for p in pieces)], np.uint64
            ),
            offsets=np.array([0, found], np.int64),
            page=(key // self._nodes).astype(np.uint32),
            touches=touches,
            misses=misses,
            sequential=sequential,
            writes=writes,
            node=(key % self._nodes).astype(np.int16),
        )


@njit(cache=True)
def add_rows(
    page: U32,
    node: I16,
    touches: U32,
    misses: U32,
    sequential: U32,
    writes: U32,
    nodes: int,
    sums: U32,
    keys: U32,
    found: int,
) -> int:
    """Add the rows of some slices to the sums of their page and node; returns how many of these there are now.

    sums  uint32[pages * nodes, 4]  the four columns; zero where nothing was touched yet
    keys  uint32[pages * nodes]     page * nodes + node of what was touched: `found` of them, in no order
    """
    for row in range(len(page)):
        key = np.int64(page[row]) * nodes + node[row]
        if sums[key, 0] == 0:
            keys[found] = key
            found += 1
        sums[key, 0] += touches[row]
        sums[key, 1] += misses[row]
        sums[key, 2] += sequential[row]
        sums[key, 3] += writes[row]
    return found
