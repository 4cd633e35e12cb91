"""A trace from a raw stream of accesses, such as a cache simulator's request list."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from numba import njit

from pghot.arrays import I64, U32
from pghot.errors import UsageError
from pghot.recording.trace import MemoryTrace, Region, SliceBatch, TraceInfo

Flags = npt.NDArray[np.uint8]

_ACCESSES_AT_A_TIME = 1 << 20

# The index of a lone bit: multiplying a de Bruijn sequence by it moves a unique six-bit pattern to the top.
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_BIT_INDEX = np.zeros(64, np.int64)
for _bit in range(64):
    _BIT_INDEX[((0x03F79D71B4CB0A89 << _bit) & (1 << 64) - 1) >> 58] = _bit


def trace_from_accesses(
    page: U32,
    write: npt.NDArray[np.bool_] | None = None,
    accesses_per_slice: int = 100_000,
    name: str = "accesses",
    miss: npt.NDArray[np.bool_] | None = None,
    slice_ns: int = 1_000_000,
) -> MemoryTrace:
    """A trace of `len(page)` accesses, one row for each page and slice.

    page   uint32[N]  dense page of each access, in the order of the accesses
    write  bool[N]    which accesses are stores; None: none is
    miss   bool[N]    which accesses miss the last-level cache; None: all do

    A slice stands for `slice_ns` of virtual time and holds `accesses_per_slice` accesses; the last one holds
    the rest. Each access counts as one instruction. Sequential misses are not known and stay 0.
    Raises `UsageError` when the arrays do not fit each other.
    """
    if accesses_per_slice < 1 or any(
        flags is not None and len(flags) != len(page) for flags in (write, miss)
    ):
        raise UsageError(
            "the flags are not as long as the pages, or a slice has no access",
            "give a flag for each page, and 1 or more accesses a slice",
        )
    page = np.ascontiguousarray(page, np.uint32)
    pages = int(page.max(initial=0)) + 1 if len(page) else 0
    none = np.empty(0, np.uint8)
    writes = none if write is None else np.ascontiguousarray(write, np.bool_).view(np.uint8)
    misses = none if miss is None else np.ascontiguousarray(miss, np.bool_).view(np.uint8)
    parts = list(_parts(page, writes, misses, pages, accesses_per_slice, slice_ns))
    info = TraceInfo(name, "import", slice_ns, ns_per_instruction=slice_ns / accesses_per_slice)
    regions = (Region(0, pages, 0, 0, name),) if pages else ()
    return MemoryTrace(info, pages, regions, parts)


def _parts(
    page: U32, writes: Flags, misses: Flags, pages: int, per_slice: int, slice_ns: int
) -> Iterator[SliceBatch]:
    """The slices in batches of about a million accesses, which bounds the scratch space."""
    counts = np.zeros((3, pages), np.uint32)
    seen = np.zeros(pages // 64 + 1, np.uint64)
    step = max(1, _ACCESSES_AT_A_TIME // per_slice) * per_slice
    rows = np.empty((4, min(step, len(page))), np.uint32)
    for begin in range(0, len(page), step):
        span = slice(begin, begin + step)
        chunk = page[span]
        offsets = np.zeros(-(-len(chunk) // per_slice) + 1, np.int64)
        aggregate(chunk, writes[span], misses[span], per_slice, counts, seen, offsets, rows)
        yield _batch(rows[:, : offsets[-1]], offsets, begin // per_slice, len(chunk), per_slice, slice_ns)


def _batch(
    rows: npt.NDArray[np.uint32], offsets: I64, first_slice: int, accesses: int, per_slice: int, slice_ns: int
) -> SliceBatch:
    slices = len(offsets) - 1
    ends = np.minimum(np.arange(1, slices + 1) * per_slice, accesses)
    return SliceBatch(
        start_ns=(first_slice + np.arange(slices, dtype=np.uint64)) * np.uint64(slice_ns),
        instructions=np.diff(ends, prepend=0).astype(np.uint64),
        offsets=offsets,
        page=rows[0].copy(),
        touches=rows[1].copy(),
        misses=rows[2].copy(),
        sequential=np.zeros(rows.shape[1], np.uint32),
        writes=rows[3].copy(),
        node=np.zeros(rows.shape[1], np.int16),
    )


@njit(cache=True)
def aggregate(
    page: U32,
    writes: Flags,
    misses: Flags,
    per_slice: int,
    counts: npt.NDArray[np.uint32],
    seen: npt.NDArray[np.uint64],
    offsets: I64,
    rows: npt.NDArray[np.uint32],
) -> None:
    """Rows of each run of `per_slice` accesses, ascending by page.

    writes, misses  uint8[N] flags, or empty: no access is a store, every access misses
    counts, seen    scratch, all zero before and after: uint32[3, pages] and one bit for each page
    offsets         int64[S+1]  filled in
    rows            uint32[4, >= N]  filled in: page, touches, misses, writes
    """
    row = 0
    for s in range(len(offsets) - 1):
        lowest = highest = np.int64(-1)
        for i in range(s * per_slice, min((s + 1) * per_slice, len(page))):
            p = page[i]
            counts[0, p] += np.uint32(1)
            if len(misses) and misses[i]:
                counts[1, p] += np.uint32(1)
            if len(writes) and writes[i]:
                counts[2, p] += np.uint32(1)
            w = np.int64(p >> np.uint32(6))
            seen[w] |= np.uint64(1) << np.uint64(p & np.uint32(63))
            if lowest < 0 or w < lowest:
                lowest = w
            if w > highest:
                highest = w
        for word in range(lowest, highest + 1):
            left = seen[word]
            while left:
                lowest_bit = left & (~left + np.uint64(1))
                p = word * 64 + _BIT_INDEX[(lowest_bit * _DE_BRUIJN) >> np.uint64(58)]
                rows[0, row] = p
                rows[1, row] = counts[0, p]
                rows[2, row] = counts[1, p] if len(misses) else counts[0, p]
                rows[3, row] = counts[2, p]
                counts[0, p] = counts[1, p] = counts[2, p] = np.uint32(0)
                row += 1
                left &= left - np.uint64(1)
            seen[word] = np.uint64(0)
        offsets[s + 1] = row
