"""A trace in larger pages, as seen by a tiering system that moves whole folios of 2 MiB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pghot.arrays import I16, I64, U32, Int
from pghot.errors import UsageError
from pghot.jit import njit
from pghot.recording.compressibility import Compressibility, compressibility_of, renumbered
from pghot.recording.regions import merge_regions
from pghot.recording.threads import stacked_counters, store_sums, unstacked
from pghot.recording.trace import Region, SliceBatch, Trace, TraceInfo, cut_rows_of
from pghot.units import format_size


@dataclass(slots=True)
class CoarseTrace:
    """`trace` regrouped: lazy and re-iterable like it.

    folio_of  uint32[trace.pages]  the folio that each page became part of
    cut_rows  rows whose sums did not fit 32 bits and were cut to 2^32 - 1, known once all batches were read
    """

    trace: Trace
    info: TraceInfo
    pages: int
    regions: tuple[Region, ...]
    folio_of: U32
    cut_rows: int = 0

    @property
    def compressibility(self) -> Compressibility | None:
        """The samples of 4 KiB pages, each under the number of its folio."""
        samples = compressibility_of(self.trace)
        return None if samples is None else renumbered(samples, self.folio_of)

    def batches(self) -> Iterator[SliceBatch]:
        nodes = self.info.nodes
        sums = np.zeros((self.pages * nodes, 5 + len(self.info.cache_bytes)), np.uint64)
        seen = np.zeros(self.pages * nodes, np.bool_)
        cut = 0
        for batch in self.trace.batches():
            counters = stacked_counters(batch)
            offsets = np.zeros(batch.slices + 1, np.int64)
            page, node = np.empty_like(batch.page), np.empty_like(batch.node)
            cut += merge_rows(
                batch.offsets,
                batch.page,
                batch.node,
                counters,
                self.folio_of,
                nodes,
                sums,
                seen,
                offsets,
                page,
                node,
            )
            rows = int(offsets[-1])
            yield unstacked(batch, offsets, page[:rows], node[:rows], counters[:, :rows])
        self.cut_rows = cut + cut_rows_of(self.trace)


def coarsen(trace: Trace, page_bytes: int) -> Trace:
    """`trace` in pages of `page_bytes`, grouped by virtual alignment inside each address space.

    The rows of a slice that fall into one (folio, node) are summed, up to 2^32 - 1 (see `cut_rows`). A folio is named
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
        replace(
            trace.regions[winner],
            first_page=folio,
            pages=1,
            space=int(keys[0, folio]),
            start_address=int(keys[1, folio]) * page_bytes,
        )
        for folio, winner in zip(folios.tolist(), winners.tolist(), strict=True)
    ]
    return merge_regions(pieces, page_bytes)


@njit(cache=True)
def merge_rows(
    offsets: I64,
    page: U32,
    node: I16,
    counters: U32,
    folio_of: U32,
    nodes: Int,
    sums: npt.NDArray[np.uint64],
    seen: npt.NDArray[np.bool_],
    out_offsets: I64,
    out_page: U32,
    out_node: I16,
) -> Int:
    """Sum the rows of each slice by (folio, node), ascending; returns how many sums did not fit 32 bits.

    counters     uint32[K, R]  as in `threads.stacked_counters`; overwritten with the sums
    sums, seen   scratch, all zero before and after: uint64[folios * nodes, K], bool[folios * nodes]
    out_offsets  int64[S+1], out_page uint32[>= R], out_node int16[>= R]  filled in
    """
    row, cut = np.int64(0), 0
    for s in range(len(offsets) - 1):
        lowest, highest = np.int64(len(seen)), np.int64(-1)
        for i in range(offsets[s], offsets[s + 1]):
            key = np.int64(folio_of[page[i]]) * nodes + node[i]
            seen[key] = True
            for c in range(len(counters)):
                sums[key, c] += np.uint64(counters[c, i])
            if key < lowest:
                lowest = key
            if key > highest:
                highest = key
        for key in range(lowest, highest + 1):
            if not seen[key]:
                continue
            seen[key] = False
            out_page[row], out_node[row] = key // nodes, key % nodes
            cut += store_sums(sums[key], counters, row)
            sums[key, :] = np.uint64(0)
            row += 1
        out_offsets[s + 1] = row
    return cut
