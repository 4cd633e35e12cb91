"""One real system, recorded more or less coarsely: loads in which each page has so many copies that behave alike."""

from __future__ import annotations

import numpy as np

from pghot.arrays import F64
from pghot.recording.trace import MemoryTrace, Region, SliceBatch, TraceInfo

INSTRUCTIONS_PER_MISS = 20


def replicated(
    heat: F64, copies: int, *, slices: int, misses: int, seed: int = 0, drift: int = 0
) -> MemoryTrace:
    """A load over `len(heat) * copies` pages: the copies of a page are neighbours and have its heat.

    heat    float64[pages]  share of the misses of each page before it is copied
    misses  of a slice, for each copy of all pages
    drift   pages by which the heat moves on, from the first half of the slices to the second
    """
    rng = np.random.default_rng(seed)
    page = np.arange(len(heat) * copies, dtype=np.uint32)
    parts = []
    for number in range(slices):
        now = np.roll(heat, drift if number >= slices // 2 else 0)
        count = rng.poisson(np.repeat(now * misses, copies)).astype(np.uint32)
        touched = count > 0
        parts.append((page[touched], count[touched]))
    rows = np.concatenate([part[0] for part in parts])
    counts = np.concatenate([part[1] for part in parts])
    per_slice = np.array([int(part[1].sum()) for part in parts], np.uint64)
    batch = SliceBatch(
        start_ns=np.arange(slices, dtype=np.uint64),
        instructions=per_slice * np.uint64(INSTRUCTIONS_PER_MISS),
        offsets=np.concatenate([[0], np.cumsum([len(part[0]) for part in parts])]).astype(np.int64),
        page=rows,
        touches=counts,
        misses=counts,
        sequential=np.zeros_like(counts),
        writes=rng.binomial(counts, 0.25).astype(np.uint32),  # a quarter, however few there are
        node=np.zeros(len(rows), np.int16),
    )
    info = TraceInfo(f"copies-{copies}", "workload", 1_000_000, mlp=4.0)
    return MemoryTrace(info, len(page), (Region(0, len(page), 0, 1 << 32, "[heap]"),), [batch])


def zipf_heat(pages: int, seed: int = 0, scatter: bool = True) -> F64:
    """Shares that fall as 1/rank, in random order or side by side, the hottest in the middle."""
    heat = 1.0 / np.arange(1, pages + 1)
    heat /= heat.sum()
    return np.random.default_rng(seed).permutation(heat) if scatter else np.roll(heat, pages // 2)
