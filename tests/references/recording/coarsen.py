"""Slow, plain versions of the kernels of `pghot.recording.coarsen` and `threads`."""

from __future__ import annotations

from pghot.arrays import U32
from pghot.recording.threads import stacked_counters
from pghot.recording.trace import SliceBatch

MOST = 2**32 - 1


def merged_reference(batch: SliceBatch, folio_of: U32) -> tuple[list[dict[tuple[int, int], list[int]]], int]:
    """For each slice {(folio, node): counters as in `stacked_counters`}, and how many of them did not fit 32 bits."""
    slices, cut = [], 0
    columns = stacked_counters(batch).T.tolist()
    for begin, end in zip(batch.offsets[:-1].tolist(), batch.offsets[1:].tolist(), strict=True):
        totals: dict[tuple[int, int], list[int]] = {}
        for i in range(begin, end):
            key = (int(folio_of[batch.page[i]]), int(batch.node[i]))
            before = totals.get(key, [0] * len(columns[i]))
            totals[key] = [a + b for a, b in zip(before, columns[i], strict=True)]
        cut += sum(max(sums) > MOST for sums in totals.values())
        slices.append({key: _stored(sums) for key, sums in sorted(totals.items())})
    return slices, cut


def _stored(sums: list[int]) -> list[int]:
    """What 32 bits hold of the sums; patterns only as far as there are misses, the first kind first."""
    stored = [min(value, MOST) for value in sums]
    sequential = min(stored[2], stored[5])
    strided = min(stored[3], stored[5] - sequential)
    dependent = min(stored[4], stored[5] - sequential - strided)
    return [*stored[:2], sequential, strided, dependent, *stored[5:]]
