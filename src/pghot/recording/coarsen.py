"""A trace in larger pages, as seen by a tiering system that moves whole folios of 2 MiB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from numba import njit

from pghot.arrays import I16, I64, U32
from pghot.errors import UsageError
from pghot.recording.compressibility import Compressibility, compressibility_of, renumbered
from pghot.recording.regions import merge_regions
from pghot.recording.trace import Region, SliceBatch, Trace, TraceInfo
from pghot.units import format_size

_MOST = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class CoarseTrace:
    """`trace` regrouped: lazy and re-iterable like it.

    folio_of  uint32[trace.pages]  the folio that each page became part of
    """

    trace: Trace
    info: TraceInfo
    pages: int
    regions: tuple[Region, ...]
    folio_of: U32

    @property
    def compressibility(self) -> Compressibility | None:
        """The samples of 4 KiB pages, each under the number of its folio."""
        samples = compressibility_of(self.trace)
        return None if samples is None else renumbered(samples, self.folio_of)

    def batches(self) -> Iterator[SliceBatch]:
        nodes = self.info.nodes
        sums = np.zeros((4, self.pages * nodes), np.uint64)
        seen = np.zeros(self.pages * nodes, np.bool_)
        for batch in self.trace.batches():
            yield _merge(batch, self.folio_of, nodes, sums, seen)


def coarsen(trace: Trace, page_bytes: int) -> Trace:
    """`trace` in pages of `page_bytes`, grouped by virtual alignment inside each address space.

    The rows of a slice that fall into one (folio, node) are summed, saturating at 2^32 - 1. A folio is named
    after the region that has the most pages in it. Pages without a region are grouped by their dense index.
    Raises `UsageError` unless `page_bytes` is a power of two and not smaller than the trace's pages.
    """
    if page_bytes == trace.info.page_bytes:
        return trace
    if page_bytes < trace.info.page_bytes or page_bytes & (page_bytes - 1):
        raise UsageError(
            f"cannot regroup pages of {format_size(trace.info.page_bytes)} into {page_bytes} bytes",
            "name a larger power of two, such as '2 MiB'",
        )
    space, number, region_of = _virtual_folios(trace, page_bytes)
    keys, folio_of = _numbered(space, number)
    regions = _folio_regions(trace, keys, folio_of, region_of, page_bytes)
    return CoarseTrace(trace, replace(trace.info, page_bytes=page_bytes), keys.shape[1], regions, folio_of)


def _virtual_folios(trace: Trace, page_bytes: int) -> tuple[I64, I64, I64]:
    """For each dense page: its address space (-1 without a region), its folio's number there, its region."""
    small = trace.info.page_bytes
    space = np.full(trace.pages, -1, np.int64)
    number = np.arange(trace.pages, dtype=np.int64) // (page_bytes // small)
    region_of = np.full(trace.pages, -1, np.int64)
    for index, region in enumerate(trace.regions):
        span = slice(region.first_page, region.first_page + region.pages)
        first, within = divmod(region.start_address, page_bytes)
        space[span] = region.space
        number[span] = first + (within + np.arange(region.pages, dtype=np.int64) * small) // page_bytes
        region_of[span] = index
    return space, number, region_of


def _numbered(space: I64, number: I64) -> tuple[npt.NDArray[np.int64], U32]:
    """The distinct (space, number) pairs, ascending, as int64[2, F]; and which of them each page has."""
    order = np.lexsort((number, space))
    pairs = np.stack([space[order], number[order]])
    is_new = np.ones(len(order), np.bool_)
    is_new[1:] = (pairs[:, 1:] != pairs[:, :-1]).any(axis=0)
    folio_of = np.empty(len(order), np.uint32)
    folio_of[order] = np.cumsum(is_new) - 1
    return pairs[:, is_new], folio_of


def _folio_regions(
    trace: Trace, keys: npt.NDArray[np.int64], folio_of: U32, region_of: I64, page_bytes: int
) -> tuple[Region, ...]:
    """Each folio's majority region, neighbours joined."""
    named = region_of >= 0
    pairs, sizes = np.unique(np.stack([folio_of[named], region_of[named]]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -sizes, pairs[0]))
    folios, first = np.unique(pairs[0][order], return_index=True)
    winners = pairs[1][order][first]
    pieces = [
        Region(folio, 1, int(keys[0, folio]), int(keys[1, folio]) * page_bytes, trace.regions[winner].name)
        for folio, winner in zip(folios.tolist(), winners.tolist(), strict=True)
    ]
    return merge_regions(pieces, page_bytes)


def _merge(
    batch: SliceBatch, folio_of: U32, nodes: int, sums: npt.NDArray[np.uint64], seen: npt.NDArray[np.bool_]
) -> SliceBatch:
    offsets = np.zeros(batch.slices + 1, np.int64)
    columns = np.empty((5, batch.rows), np.uint32)
    node = np.empty(batch.rows, np.int16)
    counters = (batch.touches, batch.misses, batch.sequential, batch.writes)
    merge_rows(
        batch.offsets, batch.page, *counters, batch.node, folio_of, nodes, sums, seen, offsets, columns, node
    )
    page, touches, misses, sequential, writes = (column[: offsets[-1]].copy() for column in columns)
    return SliceBatch(
        start_ns=batch.start_ns,
        instructions=batch.instructions,
        offsets=offsets,
        page=page,
        touches=touches,
        misses=misses,
        sequential=sequential,
        writes=writes,
        node=node[: offsets[-1]].copy(),
    )


@njit(cache=True)
def merge_rows(
    offsets: I64,
    page: U32,
    touches: U32,
    misses: U32,
    sequential: U32,
    writes: U32,
    node: I16,
    folio_of: U32,
    nodes: int,
    sums: npt.NDArray[np.uint64],
    seen: npt.NDArray[np.bool_],
    out_offsets: I64,
    out: npt.NDArray[np.uint32],
    out_node: I16,
) -> None:
    """Sum the rows of each slice by (folio, node), ascending.

    sums, seen   scratch, all zero before and after: uint64[4, folios * nodes], bool[folios * nodes]
    out_offsets  int64[S+1]   filled in
    out          uint32[5, >= R]  filled in: folio, touches, misses, sequential, writes
    out_node     int16[>= R]  filled in
    """
    row = 0
    for s in range(len(offsets) - 1):
        lowest, highest = np.int64(len(seen)), np.int64(-1)
        for i in range(offsets[s], offsets[s + 1]):
            key = np.int64(folio_of[page[i]]) * nodes + node[i]
            seen[key] = True
            sums[0, key] += np.uint64(touches[i])
            sums[1, key] += np.uint64(misses[i])
            sums[2, key] += np.uint64(sequential[i])
            sums[3, key] += np.uint64(writes[i])
            if key < lowest:
                lowest = key
            if key > highest:
                highest = key
        for key in range(lowest, highest + 1):
            if not seen[key]:
                continue
            seen[key] = False
            out[0, row] = key // nodes
            out_node[row] = key % nodes
            for c in range(4):
                total = sums[c, key]
                out[c + 1, row] = total if total < _MOST else _MOST
                sums[c, key] = np.uint64(0)
            row += 1
        out_offsets[s + 1] = row
