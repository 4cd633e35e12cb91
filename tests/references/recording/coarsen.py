"""Slow, plain versions of the kernels of `pghot.recording.coarsen`."""

from __future__ import annotations

from pghot.arrays import U32
from pghot.recording.coarsen import _MOST
from pghot.recording.trace import SliceBatch


def merge_rows_reference(batch: SliceBatch, folio_of: U32) -> list[dict[tuple[int, int], tuple[int, ...]]]:
    """For each slice {(folio, node): (touches, misses, sequential, writes)}, by the definition."""
    slices = []
    for begin, end in zip(batch.offsets[:-1].tolist(), batch.offsets[1:].tolist(), strict=True):
        totals: dict[tuple[int, int], tuple[int, ...]] = {}
        for i in range(begin, end):
            key = (int(folio_of[batch.page[i]]), int(batch.node[i]))
            counts = [
                int(column[i]) for column in (batch.touches, batch.misses, batch.sequential, batch.writes)
            ]
            before = totals.get(key, (0, 0, 0, 0))
            totals[key] = tuple(min(a + b, int(_MOST)) for a, b in zip(before, counts, strict=True))
        slices.append(dict(sorted(totals.items())))
    return slices
