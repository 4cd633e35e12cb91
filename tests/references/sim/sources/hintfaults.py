"""Slow, plain versions of the kernels of `pghot.sim.sources.hintfaults`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pghot.arrays import NOWHERE
from pghot.sim.sources.hintfaults import _HASH
from pghot.sim.sources.numa_scanner import UNMARKED


def mark_pages_reference(
    mark_ms: npt.NDArray[np.int32],
    page: npt.NDArray[np.uint32],
    place: npt.NDArray[np.uint8],
    lower: npt.NDArray[np.bool_],
    cursor: int,
    span: int,
    now_ms: int,
) -> tuple[int, int]:
    """`mark_pages` on index arrays."""
    met = (cursor + np.arange(min(span, len(page)))) % len(page)
    seen = page[met]
    placed = seen[place[seen] != NOWHERE]
    fresh = placed[lower[place[placed]] & (mark_ms[placed] == UNMARKED)]
    mark_ms[fresh] = now_ms
    return int((cursor + len(seen)) % len(page)), len(fresh)


def take_faults_reference(
    page: npt.NDArray[np.uint32],
    touches: npt.NDArray[np.uint32],
    node: npt.NDArray[np.int16],
    mark_ms: npt.NDArray[np.int32],
    place: npt.NDArray[np.uint8],
    lower: npt.NDArray[np.bool_],
    start_ms: float,
    end_ms: float,
) -> list[tuple[int, int, int]]:
    """`take_faults` page by page, as (page, node, latency ms) tuples."""
    faults = []
    for p in sorted({int(q) for q in page}):
        rows = [r for r in range(len(page)) if page[r] == p]
        total = sum(int(touches[r]) for r in rows)
        if mark_ms[p] <= UNMARKED or total == 0:
            continue
        if place[p] != NOWHERE and lower[place[p]]:
            accessors = [int(node[r]) for r in rows for _ in range(int(touches[r]))]
            accessor = accessors[((p + int(mark_ms[p])) * _HASH >> 8) % total]
            fault_ms = start_ms + (end_ms - start_ms) / (total + 1)
            faults.append((p, accessor, max(0, int(fault_ms - mark_ms[p]))))
        mark_ms[p] = UNMARKED
    return faults
