"""Recordings that are written down row by row, for the figures of reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from builders.recordings import INFO
from pghot.recording.reader import Recording, open_recording
from pghot.recording.trace import MemoryTrace, Process, Region, SliceBatch, Task, TraceInfo
from pghot.recording.writer import write_recording

SLICE_NS = 1_000_000
Rows = Mapping[tuple[int, int], tuple[int, int, int]]  # (page, thread): touches, misses, writes

TWO_THREADS = replace(INFO, processes=(Process(7, "demo"),), tasks=(Task(7, 0, "main"), Task(8, 0, "worker")))


def batch_of(slices: Sequence[Rows], first_slice: int = 0) -> SliceBatch:
    """Slices of 1 ms each, one after the other."""
    keys = [key for rows in slices for key in sorted(rows)]
    counts = np.array([rows[key] for rows in slices for key in sorted(rows)], np.uint32).reshape(-1, 3)
    return SliceBatch(
        start_ns=np.arange(first_slice, first_slice + len(slices), dtype=np.uint64) * np.uint64(SLICE_NS),
        instructions=np.ones(len(slices), np.uint64),
        offsets=np.cumsum([0, *map(len, slices)]).astype(np.int64),
        page=np.array([page for page, _ in keys], np.uint32),
        touches=counts[:, 0].copy(),
        misses=counts[:, 1].copy(),
        sequential=np.zeros(len(keys), np.uint32),
        writes=counts[:, 2].copy(),
        node=np.zeros(len(keys), np.int16),
        thread=np.array([thread for _, thread in keys], np.uint16),
    )


def recorded(
    path: Path,
    slices: Sequence[Rows],
    regions: Sequence[Region],
    info: TraceInfo = INFO,
    gap: int = 0,
    **final_facts: Any,
) -> Recording:
    """The recording at `path`; `gap` slices are missing before the last one."""
    pages = max(region.first_page + region.pages for region in regions)
    parts = (
        [batch_of(slices[:-1]), batch_of(slices[-1:], len(slices) - 1 + gap)] if gap else [batch_of(slices)]
    )
    write_recording(path, MemoryTrace(info, pages, tuple(regions), parts), **final_facts)
    return open_recording(path)


def missing(*misses: tuple[int, int]) -> Rows:
    """(page, misses) of one thread: as many touches as misses, at least one, and no writes."""
    return {(page, 0): (max(1, count), count, 0) for page, count in misses}
