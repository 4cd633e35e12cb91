"""Slice batches cut apart and put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64
from pghot.errors import PghotError
from pghot.recording.trace import SliceBatch

# The columns with one value for each row. `misses_by_cache` has one for each cache and row.
ROW_DTYPES = {
    "page": np.uint32,
    "node": np.int16,
    "process": np.uint16,
    "thread": np.uint16,
    "touches": np.uint32,
    "writes": np.uint32,
    "misses": np.uint32,
    "sequential": np.uint32,
    "strided": np.uint32,
    "dependent": np.uint32,
}


def part(batch: SliceBatch, begin: int, end: int) -> SliceBatch:
    """Slices [begin, end) of a batch; the row arrays are views."""
    rows = slice(int(batch.offsets[begin]), int(batch.offsets[end]))
    return replace(
        batch,
        start_ns=batch.start_ns[begin:end],
        instructions=batch.instructions[begin:end],
        offsets=batch.offsets[begin : end + 1] - batch.offsets[begin],
        misses_by_cache=batch.misses_by_cache[:, rows],
        **{name: getattr(batch, name)[rows] for name in ROW_DTYPES},
    )


def cut(batch: SliceBatch, slices: int, rows: int) -> Iterator[SliceBatch]:
    """The batch in parts of at most `slices` slices and, unless one slice alone has more, `rows` rows."""
    for begin, end in cut_at(batch.offsets, slices, rows):
        yield part(batch, begin, end)


def cut_at(offsets: I64, slices: int, rows: int) -> Iterator[tuple[int, int]]:
    """Where such parts begin and end.

    offsets  int64[S+1]  the rows before each slice, ascending
    """
    begin = 0
    while begin < len(offsets) - 1:
        fits = int(np.searchsorted(offsets, offsets[begin] + rows, side="right")) - 1
        end = min(max(fits, begin + 1), begin + slices, len(offsets) - 1)
        yield begin, end
        begin = end


def concatenate(batches: Sequence[SliceBatch], caches: int = 1) -> SliceBatch:
    """One batch of all slices, in the dtypes that `SliceBatch` promises; always a copy.

    caches  how many `misses_by_cache` has when there is no batch to tell

    Raises `PghotError` when a value does not fit its dtype.
    """
    counts = np.concatenate([np.diff(batch.offsets) for batch in batches] or [np.empty(0, np.int64)])

    def joined(name: str, dtype: npt.DTypeLike, none: tuple[int, ...] = (0,)) -> npt.NDArray[Any]:
        given = np.concatenate(
            [getattr(batch, name) for batch in batches] or [np.empty(none, dtype)], axis=-1
        )
        column = given.astype(dtype, copy=False)
        if given.dtype != column.dtype and (given != column).any():
            raise PghotError(f"{name} has values beyond {np.dtype(dtype)}", "see `SliceBatch` for what fits")
        return column

    by_cache = joined("misses_by_cache", np.uint32, (caches, 0))
    return SliceBatch(
        start_ns=joined("start_ns", np.uint64),
        instructions=joined("instructions", np.uint64),
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]),
        misses=joined("misses", np.uint32),
        misses_by_cache=by_cache,
        **{name: joined(name, dtype) for name, dtype in ROW_DTYPES.items() if name != "misses"},
    )
