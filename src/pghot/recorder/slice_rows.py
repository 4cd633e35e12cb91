"""Rows of a slice before they are part of a recording: put together, added up by page and thread, sorted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pghot.arrays import U32, U64
from pghot.recording.trace import SliceBatch

Numbers = npt.NDArray[np.integer[Any]]

_MOST = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one process in one slice.

    page      uint32[R]  dense page
    process   its number
    thread    uint32[R]  number of the thread
    counters  uint32[5 + C, R]  touches, writes, sequential, strided, dependent, misses of each cache
    """

    page: U32
    process: int
    thread: U32
    counters: U32

    @property
    def key(self) -> U64:
        """uint64[R] what rows are sorted by: page, process, thread."""
        return pack(self.page, np.full(len(self.page), self.process), self.thread)


@dataclass(frozen=True, slots=True)
class SortedRows:
    """The rows of one slice, one for each key, ascending; columns as in `Rows`."""

    key: U64
    counters: U32


def pack(page: U32, process: Numbers, thread: Numbers) -> U64:
    """uint64[R]: page in the upper 32 bits, then process and thread of 16 bits each."""
    key: U64 = page.astype(np.uint64) << np.uint64(32)
    key |= process.astype(np.uint64) << np.uint64(16)
    key |= thread.astype(np.uint64)
    return key


def added_up(parts: Sequence[Rows]) -> SortedRows:
    """All rows of a slice. Sums of more than 2^32 - 1 are cut to that."""
    return sum_by_key(
        np.concatenate([part.key for part in parts]),
        np.concatenate([part.counters for part in parts], axis=1),
    )


def sum_by_key(key: U64, counters: U32) -> SortedRows:
    """One row for each key: uint64[R], uint32[K, R]."""
    if np.all(key[1:] > key[:-1]):
        return SortedRows(key, counters)
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    sums = np.add.reduceat(counters[:, order].astype(np.uint64), first, axis=1)
    return SortedRows(key[first], np.minimum(sums, _MOST).astype(np.uint32))


def to_batch(start_ns: U64, instructions: U64, slices: Sequence[SortedRows]) -> SliceBatch:
    """Slices with their rows as a recording has them. There must be at least one."""
    offsets = np.zeros(len(slices) + 1, np.int64)
    np.cumsum([len(rows.key) for rows in slices], out=offsets[1:])
    key = np.concatenate([rows.key for rows in slices])
    counters = np.ascontiguousarray(np.concatenate([rows.counters for rows in slices], axis=1))
    return SliceBatch(
        start_ns=start_ns,
        instructions=instructions,
        offsets=offsets,
        page=(key >> np.uint64(32)).astype(np.uint32),
        process=(key >> np.uint64(16)).astype(np.uint16),
        thread=key.astype(np.uint16),
        touches=counters[0],
        writes=counters[1],
        sequential=counters[2],
        strided=counters[3],
        dependent=counters[4],
        misses=counters[5],
        misses_by_cache=counters[5:],
        node=np.zeros(len(key), np.int16),
    )
