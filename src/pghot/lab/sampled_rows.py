"""The rows of chosen pages, their counts multiplied by the weights of these pages."""

from __future__ import annotations

import numpy as np

from pghot.arrays import F64, I32, I64, U32, U64, Int
from pghot.jit import njit
from pghot.recording.trace import SliceBatch

CARRIES = 6  # sequential, strided, dependent and other misses, touches that hit, stores
MOST = np.float64(0xFFFFFFFF)  # columns are uint32


@njit(cache=True)
def weigh_rows(
    offsets: I64,
    page: U32,
    columns: tuple[U32, U32, U32, U32, U32, U32],
    number: I32,
    weight: F64,
    carry: F64,
    row: I64,
    kept: U32,
    ends: I64,
) -> Int:
    """Choose and weigh the rows of some slices; returns how many stay.

    A page's fractions are carried on from row to row, so that over the trace each of its counts comes out as `weight`
    times what it was, but for less than 1. Misses stay parts of touches, and the kinds of misses parts of misses.

    columns  touches, misses, sequential, strided, dependent, writes; uint32[R] each
    number   int32[pages]           the page's place in the sample, -1: it is not in it
    weight   float64[sample]
    carry    float64[CARRIES, sample]  fractions of a count; updated
    row      int64[R]               filled with the place of each row that stays
    kept     uint32[CARRIES, R]     filled with its counts, in the order of `columns`
    ends     int64[S + 1]           filled with the offsets of the slices
    """
    touches, misses, sequential, strided, dependent, writes = columns
    rows = 0
    ends[0] = 0
    parts = np.empty(5)
    for s in range(len(offsets) - 1):
        for i in range(offsets[s], offsets[s + 1]):
            p = number[page[i]]
            if p < 0:
                continue
            parts[0], parts[1], parts[2] = sequential[i], strided[i], dependent[i]
            parts[3] = misses[i] - parts[0] - parts[1] - parts[2]
            parts[4] = touches[i] - np.float64(misses[i])
            missed = touched = 0.0
            for k in range(5):
                exact = parts[k] * weight[p] + carry[k, p]
                whole = min(np.floor(exact), MOST - touched)
                carry[k, p] = exact - whole
                parts[k] = whole
                touched += whole
                if k < 4:
                    missed += whole
            exact = writes[i] * weight[p] + carry[5, p]
            written = min(np.floor(exact), touched)
            carry[5, p] = exact - written
            if touched == 0:
                continue
            row[rows] = i
            kept[0, rows], kept[1, rows] = np.uint32(touched), np.uint32(missed)
            kept[2, rows], kept[3, rows] = np.uint32(parts[0]), np.uint32(parts[1])
            kept[4, rows], kept[5, rows] = np.uint32(parts[2]), np.uint32(written)
            rows += 1
        ends[s + 1] = rows
    return rows


@njit(cache=True)
def add_heat(heat: I64, touched: F64, page: U32, misses: U32) -> None:
    """`heat[page] += misses`, and `touched[page] = 1`, row by row."""
    for i in range(len(page)):
        heat[page[i]] += misses[i]
        touched[page[i]] = 1.0


class RowWeigher:
    """Weighs one batch of a trace after the other."""

    def __init__(self, number: I32, weight: F64, one_in: float, rng: np.random.Generator) -> None:
        """number, weight  see `weigh_rows`
        one_in         instructions of a slice are divided by it
        rng            for where fractions begin, so that rounding favours nothing
        """
        self._number, self._weight, self._one_in = number, weight, one_in
        self._carry = rng.random((CARRIES, len(weight)))
        self._instructions = float(rng.random())

    def weigh(self, batch: SliceBatch) -> SliceBatch:
        """The chosen rows of the next batch."""
        row = np.empty(batch.rows, np.int64)
        kept = np.empty((CARRIES, batch.rows), np.uint32)
        ends = np.empty(batch.slices + 1, np.int64)
        columns = (
            batch.touches, batch.misses, batch.sequential, batch.strided, batch.dependent, batch.writes,
        )  # fmt: skip
        rows = weigh_rows(
            batch.offsets, batch.page, columns, self._number, self._weight, self._carry, row, kept, ends
        )
        row = row[:rows]
        touches, misses, sequential, strided, dependent, writes = (column[:rows].copy() for column in kept)
        return SliceBatch(
            start_ns=batch.start_ns,
            instructions=self._divided(batch),
            offsets=ends,
            page=self._number[batch.page[row]].astype(np.uint32),
            touches=touches,
            misses=misses,
            sequential=sequential,
            writes=writes,
            node=batch.node[row],
            strided=strided,
            dependent=dependent,
        )

    def _divided(self, batch: SliceBatch) -> U64:
        """The instructions of each slice, divided; fractions are carried on."""
        running = np.cumsum(batch.instructions / self._one_in) + self._instructions
        whole = np.floor(np.concatenate([[self._instructions], running]))
        if len(running):
            self._instructions = float(running[-1] - whole[-1])
        divided: U64 = np.diff(whole).astype(np.uint64)
        return divided
