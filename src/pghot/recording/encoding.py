"""Rows as they are on disk: page deltas, byte planes, and the few upper halves that byte planes cannot hold.

A column becomes two planes of its values' lower bytes; a value of 2^16 or more also becomes a *carry* (row, column,
upper half). Pages are stored as the difference from the row before in the slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U8, U16, U32
from pghot.jit import njit

Column = npt.NDArray[Any]  # uint32, uint16, or int16 without negative values


@dataclass(frozen=True, slots=True)
class Carries:
    """The upper halves of one batch, sorted by row.

    row     int64[C]   row of the batch
    column  uint8[C]   index in `format.columns`
    upper   uint16[C]  the value's bits 16..31
    """

    row: I64
    column: U8
    upper: U16


def split_planes(values: Column) -> tuple[U8, U8]:
    """The lowest and the second byte of each value."""
    return values.astype(np.uint8), (values >> values.dtype.type(8)).astype(np.uint8)


@njit(cache=True)
def join_planes(low: U8, high: U8, out: Column) -> None:
    """`out[i] = low[i] + 256 * high[i]`: the inverse of `split_planes` for values below 2^16."""
    for i in range(len(out)):
        out[i] = np.uint32(low[i]) | (np.uint32(high[i]) << np.uint32(8))


def find_carries(columns: Sequence[Column]) -> Carries:
    """The carries of all columns, by row and, within a row, by column."""
    large = [index for index, values in enumerate(columns) if len(values) and values.max() > 0xFFFF]
    rows = [np.flatnonzero(columns[index] > 0xFFFF) for index in large]
    uppers = [
        (columns[k][row] >> np.uint32(16)).astype(np.uint16) for k, row in zip(large, rows, strict=True)
    ]
    if len(large) == 1:  # of most recordings only pages are so large
        return Carries(rows[0], np.full(len(rows[0]), large[0], np.uint8), uppers[0])
    row = np.concatenate([np.empty(0, np.int64), *rows])
    column = np.repeat(np.array(large, np.uint8), [len(own) for own in rows])
    order = np.argsort(row, kind="stable")
    return Carries(row[order], column[order], np.concatenate([np.empty(0, np.uint16), *uppers])[order])


def add_carries(columns: Sequence[Column], carries: Carries) -> None:
    """Put the upper halves back, in place. The rows must be in range, the columns too and of 32 bits."""
    for index in np.unique(carries.column):
        mine = carries.column == index
        columns[index][carries.row[mine]] |= carries.upper[mine].astype(np.uint32) << np.uint32(16)


def page_deltas(page: U32, offsets: I64) -> U32:
    """Each page minus the one before it in its slice; the first of a slice stands for itself."""
    deltas = np.diff(page, prepend=np.uint32(0))
    first = offsets[:-1][offsets[:-1] < offsets[1:]]
    deltas[first] = page[first]
    return deltas


@njit(cache=True)
def sum_deltas(page: U32, offsets: I64) -> int:
    """Undo `page_deltas` in place. Returns the first row whose page does not fit 32 bits, or -1."""
    for s in range(len(offsets) - 1):
        at = np.uint64(0)
        for i in range(offsets[s], offsets[s + 1]):
            at += np.uint64(page[i])
            if at > np.uint64(0xFFFFFFFF):
                return i
            page[i] = np.uint32(at)
    return -1
