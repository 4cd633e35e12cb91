"""The rows of a heat map: pages in the order of their addresses, joined and folded until they fit.

A reading counts in *fine* rows, of which there is a bounded number whatever the recording holds. Once all is counted,
the fine rows that were never touched are left out, the others are joined by an equal number each, and long cold
stretches are folded into one row. Nothing that was counted is lost on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U32, Bool, Int
from pghot.jit import njit
from pghot.recording.spans import Span

Counts = npt.NDArray[np.uint64]

FINE_ROWS = 8192
COLD = 0.1  # of the mean heat of a touched page: what is below is cold
FOLDED = 4  # cold rows in succession that become one


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a heat map. Where several regions share it, `space` to `kind` are of the one with the most heat.

    start_address, end_address  from its first touched page to the end of its last; None: not known
    regions                     how many regions it has pages of
    pages                       touched pages in it
    heat                        what was counted in it
    folded                      it is a long cold stretch
    gap_bytes                   addresses between it and the row before that nothing touched; None: the row before is of
                                another address space, or of unknown addresses, or there is none
    """

    space: int
    start_address: int | None
    end_address: int | None
    name: str
    kind: str
    regions: int
    pages: int
    heat: int
    folded: bool
    gap_bytes: int | None


class FineRows:
    """Which fine row each page counts in.

    of_page  uint32[pages]
    rows     how many there are, at most `FINE_ROWS`
    """

    def __init__(self, spans: Sequence[Span], pages: int, most: int = FINE_ROWS) -> None:
        self.spans = spans
        self._sizes = np.array([span.pages for span in spans], np.int64)
        self._firsts = np.array([span.first_page for span in spans], np.int64)
        self._row_of = np.zeros(len(spans), np.int64)
        each = 1
        while (rows := int(lay_out(self._sizes, each, self._row_of))) > most:
            each *= 2
        self.rows, self._each = rows, each
        self.of_page = np.zeros(pages, np.uint32)
        number_pages(self._firsts, self._sizes, self._row_of, each, self.of_page)

    def arrange(self, heat: Counts, touches: Counts, most: int, page_bytes: int) -> tuple[list[Row], I64]:
        """At most `most` rows, and the row of each fine row, -1 where none was touched.

        heat, touches  uint64[pages]  of the whole recording
        """
        touched = np.bincount(self.of_page[touches > 0], minlength=self.rows)
        warmth = np.zeros(self.rows, np.uint64)
        np.add.at(warmth, self.of_page, heat)
        kept = np.flatnonzero(touched)
        of_fine = np.full(self.rows, -1, np.int64)
        if not len(kept):
            return [], of_fine
        of_kept, folded = self._fitted(kept, warmth[kept], touched[kept], most)
        of_fine[kept] = of_kept
        return self._described(of_fine, folded, heat, touches, page_bytes), of_fine

    def _fitted(self, kept: I64, warmth: Counts, touched: I64, most: int) -> tuple[I64, Bool]:
        """The row of each kept fine row, from the fewest joined that give at most `most`; which rows are folded."""
        group = self._group_of_fine()[kept]
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        sizes = np.diff(starts, append=len(group))
        rank = np.arange(len(group)) - np.repeat(starts, sizes)
        first = np.zeros(len(sizes), np.int64)
        joined = 1
        while True:  # when all are joined there is one row
            lay_out(sizes, joined, first)
            rows = np.repeat(first, sizes) + np.where(np.repeat(sizes, sizes) >= joined, rank // joined, 0)
            row_of, folded = _with_cold_folded(rows, warmth, touched)
            if len(folded) <= most:
                return row_of, folded
            joined = max(joined + 1, joined * 9 // 8)

    def _group_of_fine(self) -> I64:
        """A number for each fine row, the same for those of one span."""
        group = np.arange(self.rows, dtype=np.int64)
        large = self._sizes >= self._each
        for row, size in zip(self._row_of[large], self._sizes[large], strict=True):
            group[row : row + -(-size // self._each)] = row
        return group

    def _described(
        self, of_fine: I64, folded: Bool, heat: Counts, touches: Counts, page_bytes: int
    ) -> list[Row]:
        parts = np.zeros((6, len(self.spans) + len(folded)), np.int64)
        found = int(find_parts(self._firsts, self._sizes, of_fine[self.of_page], heat, touches, parts))
        rows: list[Row] = []
        for number in range(len(folded)):
            own = parts[:, :found][:, parts[0, :found] == number]
            _, span_number, first, last, _, _ = own[:, np.lexsort((own[5], own[4]))[-1]]
            span = self.spans[span_number]
            start = end = gap = None
            if span.start_address is not None:
                at = span.start_address - span.first_page * page_bytes
                start, end = at + int(first) * page_bytes, at + (int(last) + 1) * page_bytes
                before = rows[-1] if rows else None
                if before and before.end_address is not None and before.space == span.space:
                    gap = max(0, start - before.end_address)
            names = {self.spans[each].name for each in own[1]}
            rows.append(
                Row(
                    span.space, start, end, span.name, str(span.kind), len(names),
                    int(own[5].sum()), int(own[4].sum()), bool(folded[number]), gap,
                )
            )  # fmt: skip
        return rows


def _with_cold_folded(rows: I64, warmth: Counts, touched: I64) -> tuple[I64, Bool]:
    """Fold runs of at least `FOLDED` cold rows. Without any heat nothing is cold."""
    heat = np.bincount(rows, warmth.astype(np.float64))
    pages = np.bincount(rows, touched)
    cold = heat < COLD * heat.sum() / pages.sum() * pages
    edges = np.flatnonzero(np.diff(cold, prepend=False, append=False))
    renumbered = np.ones(len(cold), np.int64)
    folded = np.zeros(len(cold), np.bool_)
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin >= FOLDED:
            renumbered[begin + 1 : end] = 0
            folded[begin] = True
    return (np.cumsum(renumbered) - 1)[rows], folded[renumbered > 0]


@njit(cache=True)
def lay_out(sizes: I64, each: Int, first_row: I64) -> Int:
    """Give each span its first row when a row holds `each` items; returns how many rows that makes.

    A span of at least `each` items has rows of its own. Smaller ones share a row with their neighbours.

    sizes      int64[S]  items of each span
    first_row  int64[S]  filled in
    """
    rows, room = 0, 0
    for i in range(len(sizes)):
        if sizes[i] >= each:
            first_row[i] = rows
            rows += (sizes[i] + each - 1) // each
            room = 0
        else:
            if room < sizes[i]:
                rows += 1
                room = each
            first_row[i] = max(0, rows - 1)
            room -= sizes[i]
    return rows


@njit(cache=True)
def number_pages(firsts: I64, sizes: I64, row_of: I64, each: Int, of_page: U32) -> None:
    """Fill in the row of each page: uint32[pages] `of_page`."""
    for i in range(len(firsts)):
        own = sizes[i] >= each
        for offset in range(sizes[i]):
            of_page[firsts[i] + offset] = row_of[i] + (offset // each if own else 0)


@njit(cache=True)
def find_parts(firsts: I64, sizes: I64, row_of_page: I64, heat: Counts, touches: Counts, parts: I64) -> Int:
    """The part that each span has in each row; returns how many there are.

    parts  int64[6, >= spans + rows]  filled in: row, span, first and last touched page, heat, touched pages
    """
    found = -1
    for i in range(len(firsts)):
        row = -1
        for page in range(firsts[i], firsts[i] + sizes[i]):
            if touches[page] == 0:
                continue
            if row_of_page[page] != row:
                row = row_of_page[page]
                found += 1
                parts[0, found], parts[1, found], parts[2, found] = row, i, page
            parts[3, found] = page
            parts[4, found] += np.int64(heat[page])
            parts[5, found] += 1
    return found + 1
