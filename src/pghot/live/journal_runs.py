"""Runs of pages as a journal has them: few bytes each, and taken apart a piece at a time.

A line's runs ascend. Of each, the gap to the one before, its length and its node are three columns; a column's first
bytes are written together, then its second bytes, and so on, most of which are zero: zlib leaves a byte of a scattered
page, and next to nothing of the others.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pghot.arrays import U8, U64, Bool

RUN = np.dtype([("first", "<u8"), ("pages", "<u4"), ("node", "<u4")])  # neighbouring pages on one node
LINE_RUNS = 1 << 16
LINE_PAGES = 1 << 30  # 4 TiB, far more than one step of a run moves
END_VPN = np.uint64(1 << 52)
MOST_NODE = 254
WINDOW_PAGES = 1 << 19  # 2 GiB of addresses are taken apart at once, in some 25 MB
_NOWHERE = 255
_RUN_BYTES = 8 + 4 + 1
Runs = npt.NDArray[Any]
Range = tuple[int, int]  # page numbers: the first, and the one past the last
EVERYWHERE = ((0, int(END_VPN)),)


def pack(runs: Runs) -> bytes:
    """The runs, which ascend and do not overlap, `LINE_RUNS` at most."""
    ends = runs["first"] + runs["pages"]
    gaps = runs["first"].astype("<u8")
    gaps[1:] -= ends[:-1]
    columns = (gaps, runs["pages"].astype("<u4"), runs["node"].astype(np.uint8))
    planes = [each.view(np.uint8).reshape(len(runs), each.itemsize).T.tobytes() for each in columns]
    # Z_RLE: nothing but equal bytes in a row repeats here, and looking for more costs size and time.
    packer = zlib.compressobj(6, strategy=zlib.Z_RLE)
    return packer.compress(b"".join(planes)) + packer.flush()


def unpack(packed: bytes) -> Runs:
    """What `pack` was given. Raises `ValueError` or `zlib.error` for what it cannot have made."""
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(packed, LINE_RUNS * _RUN_BYTES)
    count, rest = divmod(len(data), _RUN_BYTES)
    if not unpacker.eof or unpacker.unused_data or rest:
        raise ValueError("not the runs of a line")
    planes = np.frombuffer(data, np.uint8)
    gaps = _column(planes[: 8 * count], count, "<u8")
    runs = np.empty(count, RUN)
    runs["pages"] = _column(planes[8 * count : 12 * count], count, "<u4")
    runs["node"] = planes[12 * count :]
    pages = runs["pages"].astype(np.uint64)
    if (pages == 0).any() or (runs["node"] > MOST_NODE).any() or (gaps > END_VPN).any():
        raise ValueError("no such page or node")
    if int(pages.sum()) > LINE_PAGES or gaps.sum(dtype=np.float64) > END_VPN:
        raise ValueError("more pages than one line is about")
    ends = np.cumsum(gaps + pages)
    if count and ends[-1] > END_VPN:
        raise ValueError("no such page")
    runs["first"] = ends - pages
    return runs


def _column(planes: U8, count: int, dtype: str) -> npt.NDArray[Any]:
    """A column from its bytes, the first ones of all, then the second ones."""
    return np.ascontiguousarray(planes.reshape(-1, count).T).view(dtype).ravel()


@dataclass(frozen=True, slots=True)
class Line:
    """The runs of one line of a journal, packed: so many pages, from `first` to before `end`.

    shared  they moved, and go back, whoever maps them
    """

    packed: bytes
    first: int
    end: int
    pages: int
    shared: bool = False


def line_of(text: str, shared: bool = False) -> Line:
    """A line from its text. Raises `ValueError`, `TypeError` or `zlib.error` for what no journal has."""
    packed = base64.b64decode(text, validate=True)
    runs = unpack(packed)
    if len(runs) == 0:
        raise ValueError("a line about nothing")
    return _line(packed, runs, shared)


def packed_line(runs: Runs, shared: bool) -> Line:
    """A line of ascending runs, `LINE_RUNS` at most and one at least."""
    return _line(pack(runs), runs, shared)


def _line(packed: bytes, runs: Runs, shared: bool) -> Line:
    end = int(runs["first"][-1]) + int(runs["pages"][-1])
    return Line(packed, int(runs["first"][0]), end, int(runs["pages"].sum(dtype=np.uint64)), shared)


@dataclass(frozen=True, slots=True)
class Piece:
    """Pages uint64[K] ascending, each once; the first node of each, uint8[K]; which of them moved whoever mapped them,
    bool[K]."""

    vpn: U64
    node: U8
    shared: Bool


def pieces(lines: Sequence[Line], ranges: Sequence[Range] = EVERYWHERE) -> Iterator[Piece]:
    """All pages of the lines in these ranges, ascending, a part at a time. Of a page in several lines the first one
    counts.

    Takes the memory of one line and of `WINDOW_PAGES`, whatever the lines say.
    """
    for first, end in ranges:
        while first < end:
            piece, first = _window(lines, first, min(end, first + WINDOW_PAGES))
            if len(piece.vpn):
                yield piece


def pages_outside(lines: Sequence[Line], ranges: Sequence[Range]) -> int:
    """How many pages of the lines are in none of these ranges; one that several lines name counts in each."""
    inside = sum(
        int(_within(unpack(line.packed), first, end)["pages"].sum(dtype=np.uint64))
        for first, end in ranges
        for line in lines
        if line.first < end and line.end > first
    )
    return sum(line.pages for line in lines) - inside


def joined_ranges(start: U64, end: U64) -> list[Range]:
    """Ascending ranges of pages, those that a window may span as one."""
    far = np.flatnonzero(start[1:] >= end[:-1] + np.uint64(WINDOW_PAGES)) + 1
    firsts, lasts = np.concatenate(([0], far)), np.concatenate((far, [len(start)])) - 1
    return list(zip(start[firsts].tolist(), end[lasts].tolist(), strict=True)) if len(start) else []


def _window(lines: Sequence[Line], first: int, end: int) -> tuple[Piece, int]:
    """The pages in [first, end), and the first one from `end` on."""
    node = np.full(end - first, _NOWHERE, np.uint8)
    shared = np.zeros(end - first, np.bool_)
    following = int(END_VPN)
    for line in lines:
        if line.first >= end:
            following = min(following, line.first)
        elif line.end > first:
            runs = unpack(line.packed)
            mine = _within(runs, first, end)
            at = (pages_of(mine) - np.uint64(first)).astype(np.int64)
            new = node[at] == _NOWHERE
            node[at[new]] = _nodes_of(mine)[new]
            shared[at] |= line.shared
            if line.end > end:
                following = min(following, int(_within(runs, end, int(END_VPN))["first"][0]))
    found = np.flatnonzero(node != _NOWHERE)
    return Piece(found.astype(np.uint64) + np.uint64(first), node[found], shared[found]), following


def pages_of(runs: Runs) -> U64:
    """All page numbers of the runs, one run after the other."""
    return counted(runs["first"], runs["pages"])


def _nodes_of(runs: Runs) -> U8:
    """The node of each of `pages_of`."""
    return np.repeat(runs["node"].astype(np.uint8), runs["pages"].astype(np.int64))


def counted(first: U64, lengths: npt.NDArray[Any]) -> U64:
    """So many numbers from each of `first`."""
    lengths = lengths.astype(np.int64)
    offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    numbers: U64 = np.repeat(first, lengths) + offsets.astype(np.uint64)
    return numbers


def _within(runs: Runs, first: int, end: int) -> Runs:
    """The parts of ascending runs from `first` to before `end`."""
    ends = runs["first"] + runs["pages"]
    mine: Runs = runs[(runs["first"] < end) & (ends > first)]
    begins = np.maximum(mine["first"], np.uint64(first))
    mine["pages"] = np.minimum(mine["first"] + mine["pages"], np.uint64(end)) - begins
    mine["first"] = begins
    return mine
