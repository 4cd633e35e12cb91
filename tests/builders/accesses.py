"""Traces of single accesses, for tests that write these down or draw them."""

from __future__ import annotations

import numpy as np

from pghot.arrays import U32, Bool
from pghot.recording.trace import MemoryTrace, Region, SliceBatch, TraceInfo


def trace_from_accesses(
    page: U32,
    write: Bool | None = None,
    accesses_per_slice: int = 100_000,
    name: str = "accesses",
    miss: Bool | None = None,
    slice_ns: int = 1_000_000,
) -> MemoryTrace:
    """A trace of these accesses, uint32[N] dense pages in their order: one row for each page and slice.

    Each access counts as one instruction; the last slice holds the rest.
    write, miss  bool[N], which are stores and which miss the last-level cache; None: none is a store, all miss
    """
    total = len(page)
    slices, pages = -(-total // accesses_per_slice), int(page.max(initial=0)) + 1 if total else 0
    slice_of = np.arange(total) // accesses_per_slice
    key, row = np.unique(slice_of * pages + page.astype(np.int64), return_inverse=True)

    def summed(flags: Bool | None) -> U32:
        return np.bincount(row, flags, minlength=len(key)).astype(np.uint32)

    batch = SliceBatch(
        start_ns=np.arange(slices, dtype=np.uint64) * np.uint64(slice_ns),
        instructions=np.bincount(slice_of, minlength=slices).astype(np.uint64),
        offsets=np.searchsorted(key, np.arange(slices + 1) * pages),
        page=(key % max(pages, 1)).astype(np.uint32),
        touches=summed(None),
        misses=summed(miss),
        sequential=np.zeros(len(key), np.uint32),
        writes=np.zeros(len(key), np.uint32) if write is None else summed(write),
        node=np.zeros(len(key), np.int16),
    )
    info = TraceInfo(name, "import", slice_ns, ns_per_instruction=slice_ns / accesses_per_slice)
    regions = (Region(0, pages, 0, 0, name),) if pages else ()
    return MemoryTrace(info, pages, regions, [batch] if total else [])
