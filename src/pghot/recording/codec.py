"""A slice batch and its regions to the buffers of a record batch, and back."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pghot.arrays import I16, I64
from pghot.recording.buffers import REGION_BUFFERS, ROW_BUFFERS, Buffer, Buffers
from pghot.recording.encoding import (
    Carries,
    add_carries,
    find_carries,
    join_planes,
    page_deltas,
    split_planes,
    sum_deltas,
)
from pghot.recording.format import COLUMNS, COUNTERS, PLANES
from pghot.recording.framing import DamageError
from pghot.recording.trace import Region, SliceBatch

REGION_NUMBERS = ("first_page", "pages", "space", "start_address")


def encode(batch: SliceBatch, regions: Sequence[tuple[int, Region]]) -> Buffers:
    """All buffers of a batch. `regions` are (slice of the batch, region), by slice."""
    columns = [page_deltas(batch.page, batch.offsets), *(getattr(batch, name) for name in COUNTERS)]
    buffers: Buffers = {"start_ns": batch.start_ns, "instructions": batch.instructions}
    buffers["rows.offsets"] = batch.offsets.astype(np.int32)
    for name, values in zip(COLUMNS, columns, strict=True):
        buffers[f"rows.{name}_0"], buffers[f"rows.{name}_1"] = split_planes(values)
    buffers |= _encode_carries(find_carries(columns), batch.offsets)
    buffers |= _encode_nodes(batch.node, batch.offsets)
    buffers |= _encode_regions(regions, batch.slices)
    return buffers


def decode(buffers: Buffers) -> SliceBatch:
    """The slice batch of the row buffers. Raises `DamageError` where they contradict each other."""
    offsets = _list_offsets(buffers, "rows")
    if any(len(buffers[f"rows.{plane}"]) != offsets[-1] for plane in PLANES):
        raise DamageError("columns of different lengths")
    page, *counters = [np.empty(int(offsets[-1]), np.uint32) for _ in COLUMNS]
    for name, values in zip(COLUMNS, (page, *counters), strict=True):
        join_planes(buffers[f"rows.{name}_0"], buffers[f"rows.{name}_1"], values)
    add_carries([page, *counters], _decode_carries(buffers, offsets))
    if sum_deltas(page, offsets) >= 0:
        raise DamageError("a page beyond 32 bits")
    touches, misses, sequential, writes = counters
    return SliceBatch(
        start_ns=buffers["start_ns"].astype(np.uint64),
        instructions=buffers["instructions"].astype(np.uint64),
        offsets=offsets,
        page=page,
        touches=touches,
        misses=misses,
        sequential=sequential,
        writes=writes,
        node=_decode_nodes(buffers, offsets),
    )


def decode_regions(buffers: Buffers) -> list[Region]:
    """The regions of the region buffers, in the order in which they were discovered."""
    offsets = _ascending(buffers["regions.name.offsets"], len(buffers["regions.name"]), "region names")
    names = buffers["regions.name"].tobytes()
    numbers = [buffers[f"regions.{name}"].tolist() for name in REGION_NUMBERS]
    if any(len(column) != len(offsets) - 1 for column in numbers):
        raise DamageError("region columns of different lengths")
    spans = itertools.pairwise(offsets.tolist())
    return [
        Region(first_page, pages, space, start, _text(names[begin:end]))
        for first_page, pages, space, start, (begin, end) in zip(*numbers, spans, strict=True)
    ]


def rows_crc32(buffers: Buffers) -> int:
    """CRC-32 of all buffers but the regions', in order, before compression."""
    return _crc32(buffers, ROW_BUFFERS)


def regions_crc32(buffers: Buffers) -> int:
    """CRC-32 of the regions' buffers."""
    return _crc32(buffers, REGION_BUFFERS)


def _crc32(buffers: Buffers, which: Iterable[Buffer]) -> int:
    crc = 0
    for buffer in which:
        crc = zlib.crc32(np.ascontiguousarray(buffers[buffer.name]).view(np.uint8).data, crc)
    return crc


def _encode_carries(carries: Carries, offsets: I64) -> Buffers:
    before = np.searchsorted(carries.row, offsets)
    starts = np.repeat(offsets[:-1], np.diff(before))
    return {
        "carries.offsets": before.astype(np.int32),
        "carries.row": (carries.row - starts).astype(np.uint32),
        "carries.column": carries.column,
        "carries.upper": carries.upper,
    }


def _decode_carries(buffers: Buffers, offsets: I64) -> Carries:
    counts = np.diff(_list_offsets(buffers, "carries"))
    inside = buffers["carries.row"].astype(np.int64)
    column = buffers["carries.column"]
    if (inside >= np.repeat(np.diff(offsets), counts)).any() or (column >= len(COLUMNS)).any():
        raise DamageError("a carry for a row or a column that does not exist")
    return Carries(inside + np.repeat(offsets[:-1], counts), column, buffers["carries.upper"])


def _encode_nodes(node: I16, offsets: I64) -> Buffers:
    """The node of each row; empty for a slice in which all are node 0, as on a machine with one node."""
    counts = np.diff(offsets)
    elsewhere = np.concatenate([[0], np.cumsum(node != 0)])
    kept = elsewhere[offsets[1:]] > elsewhere[offsets[:-1]]
    stored = np.concatenate([[0], np.cumsum(np.where(kept, counts, 0))])
    return {"node.offsets": stored.astype(np.int32), "node": node[np.repeat(kept, counts)]}


def _decode_nodes(buffers: Buffers, offsets: I64) -> I16:
    node = np.zeros(int(offsets[-1]), np.int16)
    stored = np.diff(_list_offsets(buffers, "node"))
    if not stored.any():
        return node
    counts = np.diff(offsets)
    if ((stored != 0) & (stored != counts)).any():
        raise DamageError("a slice with nodes for some of its rows only")
    node[np.repeat(stored > 0, counts)] = buffers["node"]
    return node


def _encode_regions(regions: Sequence[tuple[int, Region]], slices: int) -> Buffers:
    names = [region.name.encode(errors="backslashreplace") for _, region in regions]
    found = np.array([at for at, _ in regions], np.int64)

    def column(name: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        return np.array([getattr(region, name) for _, region in regions], dtype)

    return {
        "regions.offsets": np.searchsorted(found, np.arange(slices + 1)).astype(np.int32),
        "regions.first_page": column("first_page", np.uint32),
        "regions.pages": column("pages", np.uint32),
        "regions.space": column("space", np.uint32),
        "regions.start_address": column("start_address", np.uint64),
        "regions.name.offsets": np.cumsum([0, *map(len, names)]).astype(np.int32),
        "regions.name": np.frombuffer(b"".join(names), np.uint8),
    }


def _list_offsets(buffers: Buffers, name: str) -> I64:
    """Offsets of a list column as int64, checked against the length of its first child."""
    child = next(key for key in buffers if key != f"{name}.offsets" and key.split(".")[0] == name)
    return _ascending(buffers[f"{name}.offsets"], len(buffers[child]), name)


def _ascending(offsets: npt.NDArray[Any], items: int, what: str) -> I64:
    wide = offsets.astype(np.int64)
    if len(wide) == 0 or wide[0] != 0 or wide[-1] != items or (np.diff(wide) < 0).any():
        raise DamageError(f"offsets of the {what} that do not ascend to their number")
    return wide


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")
