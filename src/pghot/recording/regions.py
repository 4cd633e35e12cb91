"""The region table: the pieces that were discovered, merged into regions."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

from pghot.recording.trace import Region


def merge_regions(pieces: Iterable[Region], page_bytes: int) -> tuple[Region, ...]:
    """Regions sorted by dense page, without overlap, adjacent pieces of one mapping joined.

    Pieces join when they continue each other in the dense space *and* in the addresses, with the same name,
    kind, site and address space. Where two pieces claim the same dense page, the one discovered first keeps it.

    >>> heap = [Region(0, 2, 0, 8192, "[heap]"), Region(2, 1, 0, 16384, "[heap]")]
    >>> merge_regions(heap, 4096) == (Region(0, 3, 0, 8192, "[heap]"),)
    True
    """
    merged: list[Region] = []
    for piece in _without_overlap(list(pieces), page_bytes):
        if merged and continues(merged[-1], piece, page_bytes):
            merged[-1] = replace(merged[-1], pages=merged[-1].pages + piece.pages)
        else:
            merged.append(piece)
    return tuple(merged)


def continues(last: Region, piece: Region, page_bytes: int) -> bool:
    """Whether the piece goes on where the last one ends, and is of the same memory."""
    return (
        last.first_page + last.pages == piece.first_page
        and last.start_address + last.pages * page_bytes == piece.start_address
        and (last.space, last.name, last.kind, last.site) == (piece.space, piece.name, piece.kind, piece.site)
    )


def _without_overlap(pieces: list[Region], page_bytes: int) -> list[Region]:
    """The pieces by first page. Overlap is rare (addresses that were mapped again), and only then is this slow."""
    ordered = sorted((piece for piece in pieces if piece.pages > 0), key=lambda piece: piece.first_page)
    overlaps = any(a.first_page + a.pages > b.first_page for a, b in pairwise(ordered))
    if not overlaps:
        return ordered
    covered = _Coverage()
    parts: list[Region] = []
    for piece in pieces:
        for begin, end in covered.add(piece.first_page, piece.first_page + piece.pages):
            address = piece.start_address + (begin - piece.first_page) * page_bytes
            parts.append(replace(piece, first_page=begin, pages=end - begin, start_address=address))
    return sorted(parts, key=lambda piece: piece.first_page)


class _Coverage:
    """Which dense pages already have a name: disjoint ranges, joined where they touch.

    Joining keeps the work near n log n for any input: a hostile table must not make a reader hang.
    """

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []

    def add(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Cover [begin, end) and return the parts of it that were not covered before."""
        first = bisect_left(self._ends, begin)
        last = bisect_right(self._begins, end)
        gaps: list[tuple[int, int]] = []
        at = begin
        for i in range(first, last):
            if self._begins[i] > at:
                gaps.append((at, self._begins[i]))
            at = max(at, self._ends[i])
        if at < end:
            gaps.append((at, end))
        joined_begin = min([begin, *self._begins[first:last]])
        joined_end = max([end, *self._ends[first:last]])
        self._begins[first:last] = [joined_begin]
        self._ends[first:last] = [joined_end]
        return gaps
