"""Strided walks over a range of bytes, counted for each page without making the single accesses."""

from __future__ import annotations

import numpy as np

from pghot.arrays import I64, U32
from pghot.lab.workloads.rows import Draws, Rows, merge_rows
from pghot.units import LINE_BYTES


class StridedWalk:
    """Accesses to bytes 0, stride, 2 * stride, ... of `size_bytes`, and again from 0.

    A touch is a miss unless it falls into the line of the touch before it. A miss is sequential when it
    follows another one in the same page and the stride is no longer than a line.
    """

    def __init__(self, size_bytes: int, page_bytes: int, stride: int, write_share: float) -> None:
        self._page_bytes, self._stride, self._write_share = page_bytes, stride, write_share
        self._steps = -(-size_bytes // stride)
        self._at = 0

    def draw(self, accesses: int, draws: Draws) -> Rows:
        """The next `accesses` touches."""
        parts: list[Rows] = []
        while accesses > 0 or not parts:
            until = min(self._at + accesses, self._steps)
            passes = accesses // self._steps if self._at == 0 else 0
            if passes > 1:
                parts.append(_times(self._span(0, self._steps), passes))
                accesses -= passes * self._steps
                continue
            parts.append(self._span(self._at, until))
            accesses -= until - self._at
            self._at = until % self._steps
        rows = merge_rows(parts)
        writes = draws.rounded(rows.touches * self._write_share)
        return Rows(rows.page, rows.touches, rows.misses, rows.sequential, writes)

    def _span(self, start: int, end: int) -> Rows:
        """The steps start..end-1, none of which wraps."""
        pages = np.arange(self._page_of(start), self._page_of(end - 1) + 1, dtype=np.int64)
        first_step = self._first_step(pages)
        begin, stop = np.maximum(first_step, start), np.minimum(self._first_step(pages + 1), end)
        hit = stop > begin
        pages, first_step, begin, stop = pages[hit], first_step[hit], begin[hit], stop[hit]
        line, last = begin * self._stride // LINE_BYTES, (stop - 1) * self._stride // LINE_BYTES
        enters_line = (begin == 0) | ((begin - 1) * self._stride // LINE_BYTES != line)
        if self._stride > LINE_BYTES:
            misses, sequential = stop - begin, np.zeros(len(pages), np.int64)
        else:
            misses = last - line + enters_line
            enters_page = begin == first_step
            sequential = np.maximum(misses - enters_page, 0)
        return Rows(_u32(pages), _u32(stop - begin), _u32(misses), _u32(sequential), _u32(0 * pages))

    def _page_of(self, step: int) -> int:
        return step * self._stride // self._page_bytes

    def _first_step(self, pages: I64) -> I64:
        """The first step at or after the beginning of each page."""
        return -(-pages * self._page_bytes // self._stride)


def _u32(column: I64) -> U32:
    return column.astype(np.uint32)


def _times(rows: Rows, factor: int) -> Rows:
    """The same pages, `factor` times over."""
    times = np.uint32(factor)
    return Rows(
        rows.page, rows.touches * times, rows.misses * times, rows.sequential * times, rows.writes * times
    )
