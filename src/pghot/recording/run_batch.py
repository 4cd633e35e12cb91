"""Slices whose rows are each of several pages in succession: what is known of memory as regions, kept as regions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U32
from pghot.jit import njit
from pghot.recording.batches import ROW_DTYPES, concatenate, cut_at, part
from pghot.recording.trace import SliceBatch

ROWS_AT_A_TIME = 1 << 18


@dataclass(frozen=True)
class RunBatch:
    """Consecutive slices. What row `i` says, it says of each of the pages `rows.page[i]` to `+ pages[i] - 1`.

    pages  uint32[R]  at least 1. Where a batch has other numbers than 1, the runs of a slice do not overlap
    """

    rows: SliceBatch
    pages: U32

    @classmethod
    def single(cls, batch: SliceBatch) -> RunBatch:
        """Rows of one page each."""
        return cls(batch, np.ones(batch.rows, np.uint32))

    @cached_property
    def all_rows(self) -> int:
        """How many rows of one page it stands for."""
        return int(self.pages.sum(dtype=np.int64))

    @property
    def all_offsets(self) -> I64:
        """int64[S+1]: `rows.offsets` of the rows of one page."""
        return np.concatenate([[0], np.cumsum(self.pages, dtype=np.int64)])[self.rows.offsets]

    def part(self, begin: int, end: int) -> RunBatch:
        """Slices [begin, end); the arrays are views."""
        own = slice(int(self.rows.offsets[begin]), int(self.rows.offsets[end]))
        return RunBatch(part(self.rows, begin, end), self.pages[own])

    def by_page(self) -> Iterator[SliceBatch]:
        """The same with a row for each page, some slices at a time."""
        if self.all_rows == self.rows.rows:
            yield self.rows
            return
        for begin, end in cut_at(self.all_offsets, self.rows.slices, ROWS_AT_A_TIME):
            yield _unrolled(self.part(begin, end))


def joined(batches: Sequence[RunBatch], caches: int) -> RunBatch:
    """One batch of all slices. Raises as `concatenate`."""
    pages = [batch.pages for batch in batches] or [np.empty(0, np.uint32)]
    return RunBatch(concatenate([batch.rows for batch in batches], caches), np.concatenate(pages))


@njit(cache=True)
def stretch_ends(of_page: npt.NDArray[Any]) -> U32:
    """uint32[pages]: of each page, behind which page the stretch ends in which all have the same in `of_page`."""
    ends = np.empty(len(of_page), np.uint32)
    end = len(of_page)
    for page in range(len(of_page) - 1, -1, -1):
        if page + 1 < end and of_page[page] != of_page[page + 1]:
            end = page + 1
        ends[page] = end
    return ends


def _unrolled(batch: RunBatch) -> SliceBatch:
    rows, pages = batch.rows, batch.pages.astype(np.int64)
    row = np.repeat(np.arange(rows.rows), pages)
    within = np.arange(len(row)) - np.repeat(np.cumsum(pages) - pages, pages)
    columns = {name: getattr(rows, name)[row] for name in ROW_DTYPES}
    columns["page"] = (columns["page"] + within).astype(np.uint32)
    return replace(rows, offsets=batch.all_offsets, misses_by_cache=rows.misses_by_cache[:, row], **columns)
