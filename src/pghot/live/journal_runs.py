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

from pghot.arrays import I64, U8, U64, Bool

RUN = np.dtype([("first", "<u8"), ("pages", "<u4"), ("node", "<u4")])  # neighbouring pages on one node
LINE_RUNS = 1 << 16
LINE_PAGES = 1 << 30  # 4 TiB, far more than one step of a run moves
END_VPN = np.uint64(1 << 52)
MOST_NODE = 254  # 255 is "nowhere"
PIECES = 24  # an address space is taken apart into about so many
LEAST_PIECE_PAGES = 1 << 14
SECTION_SHIFT = 15
_RUN_BYTES = 8 + 4 + 1
Runs = npt.NDArray[Any]


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


def pieces(lines: Sequence[Line]) -> Iterator[Piece]:
    """All pages of the lines, ascending, a part at a time. Of a page in several lines the first one counts."""
    for first, end in _bounds(lines):
        mine = [line for line in lines if line.first < end and line.end > first]
        parts = [_within(unpack(line.packed), first, end) for line in mine]
        all_pages = pages_of(np.concatenate(parts))
        all_nodes = np.concatenate([_nodes_of(part) for part in parts])
        vpn, index = np.unique(all_pages, return_index=True)
        moved_shared = [pages_of(part) for line, part in zip(mine, parts, strict=True) if line.shared]
        shared = np.isin(vpn, np.concatenate(moved_shared)) if moved_shared else np.zeros(len(vpn), np.bool_)
        yield Piece(vpn, all_nodes[index], shared)


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


def _bounds(lines: Sequence[Line]) -> list[tuple[int, int]]:
    """Parts of the pages, of about so many pages each: first page, and one past the last."""
    section, pages = np.empty(0, np.uint64), np.empty(0, np.int64)
    for line in lines:
        more, count = _by_section(unpack(line.packed))
        both, where = np.unique(np.concatenate((section, more)), return_inverse=True)
        counts = np.zeros(len(both), np.int64)
        np.add.at(counts, where, np.concatenate((pages, count)))
        section, pages = both, counts
    most = max(LEAST_PIECE_PAGES, int(pages.sum()) // PIECES)
    part = (np.cumsum(pages) - pages) // most
    starts = np.flatnonzero(np.diff(part, prepend=-1)).tolist()
    ends = [*starts[1:], len(section)]
    return [
        (int(section[begin]) << SECTION_SHIFT, (int(section[end - 1]) + 1) << SECTION_SHIFT)
        for begin, end in zip(starts, ends, strict=True)
    ]


def _by_section(runs: Runs) -> tuple[U64, I64]:
    """How many pages of the runs are in each 2**15 of pages, those with any."""
    first, end = runs["first"], runs["first"] + runs["pages"]
    shift = np.uint64(SECTION_SHIFT)
    spans = ((end - np.uint64(1)) >> shift) - (first >> shift) + np.uint64(1)
    section = counted(first >> shift, spans)
    begin, stop = np.repeat(first, spans.astype(np.int64)), np.repeat(end, spans.astype(np.int64))
    count = np.minimum(stop, (section + np.uint64(1)) << shift) - np.maximum(begin, section << shift)
    both, where = np.unique(section, return_inverse=True)
    counts = np.zeros(len(both), np.int64)
    np.add.at(counts, where, count.astype(np.int64))
    return both, counts
