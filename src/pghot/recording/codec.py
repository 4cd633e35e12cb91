"""A slice batch to the buffers of a record batch, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64
from pghot.recording.batches import ROW_DTYPES
from pghot.recording.buffers import Buffers
from pghot.recording.encoding import (
    Carries,
    add_carries,
    find_carries,
    join_planes,
    page_deltas,
    split_planes,
    sum_deltas,
)
from pghot.recording.format import COUNTERS, KEY_COLUMNS, columns
from pghot.recording.framing import DamageError
from pghot.recording.run_batch import RunBatch
from pghot.recording.trace import SliceBatch

Column = npt.NDArray[Any]


def encode(runs: RunBatch, with_pages: bool) -> Buffers:
    """All buffers of a batch; the numbers of pages too if they are asked for."""
    batch = runs.rows
    names = columns(len(batch.misses_by_cache), with_pages)
    page = page_deltas(batch.page, batch.offsets)
    single = [page, *(getattr(batch, name) for name in (*KEY_COLUMNS[1:], *COUNTERS))]
    values = [*single, *batch.misses_by_cache, *([runs.pages] if with_pages else [])]
    buffers: Buffers = {"start_ns": batch.start_ns, "instructions": batch.instructions}
    buffers["rows.offsets"] = batch.offsets.astype(np.int32)
    for name, column in zip(names, values, strict=True):
        buffers[f"rows.{name}_lo"], buffers[f"rows.{name}_hi"] = split_planes(column)
    return buffers | _encode_carries(find_carries(values), batch.offsets)


def decode(buffers: Buffers, caches: int, with_pages: bool) -> RunBatch:
    """The batch of the buffers; without numbers of pages each is 1. Raises `DamageError` where they contradict each
    other."""
    names = columns(caches, with_pages)
    offsets = _ascending(buffers["rows.offsets"], len(buffers["rows.page_lo"]), "rows")
    rows = int(offsets[-1])
    misses_by_cache = np.zeros((caches, rows), np.uint32)
    column: dict[str, Column] = {name: np.zeros(rows, ROW_DTYPES[name]) for name in (*KEY_COLUMNS, *COUNTERS)}
    column |= {f"misses{cache}": misses_by_cache[cache] for cache in range(caches)}
    column["pages"] = np.zeros(rows, np.uint32) if with_pages else np.ones(rows, np.uint32)
    for name in names:
        low, high = buffers[f"rows.{name}_lo"], buffers[f"rows.{name}_hi"]
        if low.any() or high.any():  # nearly always zeros where only one thread or node ran, or nobody looked
            join_planes(low, high, column[name])
    add_carries([column[name] for name in names], _decode_carries(buffers, offsets, names))
    if sum_deltas(column["page"], offsets) >= 0:
        raise DamageError("a page beyond 32 bits")
    batch = SliceBatch(
        start_ns=buffers["start_ns"].astype(np.uint64),
        instructions=buffers["instructions"].astype(np.uint64),
        offsets=offsets,
        misses=misses_by_cache[0],
        misses_by_cache=misses_by_cache,
        **{name: column[name] for name in (*KEY_COLUMNS, *COUNTERS)},
    )
    return RunBatch(batch, column["pages"])


def _encode_carries(carries: Carries, offsets: I64) -> Buffers:
    before = np.searchsorted(carries.row, offsets)
    starts = np.repeat(offsets[:-1], np.diff(before))
    return {
        "carries.offsets": before.astype(np.int32),
        "carries.row": (carries.row - starts).astype(np.uint32),
        "carries.column": carries.column,
        "carries.upper": carries.upper,
    }


def _decode_carries(buffers: Buffers, offsets: I64, names: tuple[str, ...]) -> Carries:
    counts = np.diff(_ascending(buffers["carries.offsets"], len(buffers["carries.row"]), "carries"))
    inside = buffers["carries.row"].astype(np.int64)
    column = buffers["carries.column"]
    narrow = [names.index(name) for name in KEY_COLUMNS[1:]]
    if (
        (inside >= np.repeat(np.diff(offsets), counts)).any()
        or (column >= len(names)).any()
        or np.isin(column, narrow).any()
    ):
        raise DamageError("a carry for a row or a column that does not exist")
    return Carries(inside + np.repeat(offsets[:-1], counts), column, buffers["carries.upper"])


def _ascending(offsets: npt.NDArray[Any], items: int, what: str) -> I64:
    wide = offsets.astype(np.int64)
    if len(wide) == 0 or wide[0] != 0 or wide[-1] != items or (np.diff(wide) < 0).any():
        raise DamageError(f"offsets of the {what} that do not ascend to their number")
    return wide
