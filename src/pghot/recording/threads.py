"""The rows of several threads added up: one row for each page and node, as the lab replays them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pghot.arrays import I16, I64, U32, Int
from pghot.jit import njit
from pghot.recording.trace import SliceBatch

MOST = np.uint64(0xFFFFFFFF)


def threads_added_up(batch: SliceBatch) -> tuple[SliceBatch, int]:
    """The batch with one row for each page and node; and how many rows hold less than the sum, 2^32 - 1.

    Their thread and process are 0. A batch in which one thread ran is returned with its rows as they are.
    """
    zeros = np.zeros(batch.rows, np.uint16)
    if _one(batch.thread) and _one(batch.process):
        return replace(batch, thread=zeros, process=zeros), 0
    counters = stacked_counters(batch)
    offsets = np.zeros(batch.slices + 1, np.int64)
    page, node = np.empty_like(batch.page), np.empty_like(batch.node)
    cut = add_up(batch.offsets, batch.page, batch.node, counters, offsets, page, node)
    rows = int(offsets[-1])
    return unstacked(batch, offsets, page[:rows], node[:rows], counters[:, :rows]), int(cut)


def stacked_counters(batch: SliceBatch) -> U32:
    """uint32[5 + C, R]: touches, writes, the patterns, the misses of each cache; a copy."""
    single = (batch.touches, batch.writes, batch.sequential, batch.strided, batch.dependent)
    return np.concatenate([np.stack(single), batch.misses_by_cache])


def unstacked(batch: SliceBatch, offsets: I64, page: U32, node: I16, counters: U32) -> SliceBatch:
    """The slices of `batch` with other rows, whose threads are not told apart; the arrays are views."""
    touches, writes, sequential, strided, dependent = counters[:5]
    misses_by_cache = counters[5:]
    return SliceBatch(
        start_ns=batch.start_ns,
        instructions=batch.instructions,
        offsets=offsets,
        page=page,
        touches=touches,
        misses=misses_by_cache[0],
        sequential=sequential,
        writes=writes,
        node=node,
        strided=strided,
        dependent=dependent,
        misses_by_cache=misses_by_cache,
    )


def _one(ids: npt.NDArray[np.uint16]) -> bool:
    return not len(ids) or bool((ids == ids[0]).all())


@njit(cache=True)
def add_up(
    offsets: I64, page: U32, node: I16, counters: U32, out_offsets: I64, out_page: U32, out_node: I16
) -> Int:
    """Add up neighbouring rows of one page and node in each slice; returns how many sums did not fit 32 bits.

    counters     uint32[K, R]  as in `stacked_counters`; overwritten with the sums
    out_offsets  int64[S+1], out_page uint32[>= R], out_node int16[>= R]  filled in
    """
    row, cut = np.int64(0), 0
    sums = np.zeros(len(counters), np.uint64)
    for s in range(len(offsets) - 1):
        i, end = offsets[s], offsets[s + 1]
        while i < end:
            p, n = page[i], node[i]
            out_page[row], out_node[row] = p, n
            if i + 1 == end or page[i + 1] != p or node[i + 1] != n:  # nearly always: one thread touched it
                for c in range(len(counters)):
                    counters[c, row] = counters[c, i]
                i += 1
            else:
                sums[:] = np.uint64(0)
                while i < end and page[i] == p and node[i] == n:
                    for c in range(len(counters)):
                        sums[c] += np.uint64(counters[c, i])
                    i += 1
                cut += store_sums(sums, counters, row)
            row += 1
        out_offsets[s + 1] = row
    return cut


@njit(cache=True)
def store_sums(sums: npt.NDArray[np.uint64], counters: U32, row: Int) -> Int:
    """Write sums, at most 2^32 - 1 each, to a row of `counters`; 1 when one was larger.

    Where the misses are cut the patterns are too, so that they stay among the misses: sequential ones are kept first.
    """
    cut = 0
    for c in range(len(sums)):
        if sums[c] > MOST:
            sums[c], cut = MOST, 1
    left = sums[5]
    for c in range(2, 5):
        if sums[c] > left:
            sums[c] = left
        left -= sums[c]
    for c in range(len(sums)):
        counters[c, row] = sums[c]
    return cut
