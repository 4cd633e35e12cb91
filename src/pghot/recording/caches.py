"""A recording that counted the misses of several caches, as one of them saw it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pghot.arrays import U32, Int
from pghot.jit import njit
from pghot.recording.coarsen import CoarseTrace
from pghot.recording.trace import SliceBatch, Trace
from pghot.recording.trace_view import TraceView

# Consecutive multiples of 2^32 divided by the golden ratio, modulo 2^32, spread evenly whatever their number (Knuth,
# The Art of Computer Programming, volume 3, section 6.4).
_GOLDEN = np.uint64(2654435769)


def with_cache(trace: Trace, cache_bytes: float) -> Trace:
    """`trace` with the misses of that cache of `TraceInfo.cache_bytes` that is nearest, by ratio, to `cache_bytes`.

    The patterns were counted for the smallest cache. Of the misses of a larger one each row keeps the same shares,
    rounded up or down so that over many rows nothing is lost or gained.
    """
    if isinstance(trace, CoarseTrace):
        fine = with_cache(trace.trace, cache_bytes)
        return replace(trace, trace=fine, info=replace(fine.info, page_bytes=trace.info.page_bytes))
    sizes = np.array(trace.info.cache_bytes, np.float64)
    if len(sizes) == 1:
        return trace
    index = int(np.abs(np.log(np.maximum(sizes, 1) / max(cache_bytes, 1))).argmin())
    size = trace.info.cache_bytes[index]
    return CacheView(trace, replace(trace.info, llc_bytes=size, cache_bytes=(size,)), index)


@dataclass(frozen=True, slots=True)
class CacheView(TraceView):
    """`trace` as its cache number `index` saw it: lazy and re-iterable like it."""

    index: int

    def batches(self) -> Iterator[SliceBatch]:
        first_row = 0
        for batch in self.trace.batches():
            misses = np.ascontiguousarray(batch.misses_by_cache[self.index])
            patterns = np.stack([batch.sequential, batch.strided, batch.dependent])
            if self.index:
                share_out(batch.misses, misses, first_row, patterns)
            first_row += batch.rows
            yield replace(
                batch,
                misses=misses,
                misses_by_cache=misses[None, :],
                sequential=patterns[0],
                strided=patterns[1],
                dependent=patterns[2],
            )


@njit(cache=True)
def share_out(counted: U32, misses: U32, first_row: Int, patterns: npt.NDArray[np.uint32]) -> None:
    """Scale the patterns of `counted` misses to `misses`, in place; a row's patterns stay at most its misses.

    patterns   uint32[K, R]  disjoint parts of `counted`
    first_row  number of the first row in the trace: rounding depends on it, and on nothing else
    """
    for i in range(len(misses)):
        whole = np.uint64(counted[i])
        spread = (np.uint64(first_row + i) * _GOLDEN) & np.uint64(0xFFFFFFFF)
        rounding = (spread * whole) >> np.uint64(
            32
        )  # below `whole`: floor((x + rounding) / whole) rounds either way
        part, before = np.uint64(0), np.uint64(0)
        for k in range(len(patterns)):
            part += np.uint64(patterns[k, i])
            scaled = (part * np.uint64(misses[i]) + rounding) // whole if whole else np.uint64(0)
            patterns[k, i] = scaled - before
            before = scaled
