"""Slow, plain versions of what `pghot.recording.run_batch` and the importer of regions do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from pghot.recording.batches import ROW_DTYPES
from pghot.recording.trace import SliceBatch


def by_page_reference(batch: SliceBatch, pages: Sequence[int]) -> SliceBatch:
    """The batch with a row for each page of each run, in the order of the runs."""
    rows: list[tuple[int, int]] = []  # row of the batch, page
    offsets = [0]
    for s in range(batch.slices):
        for i in range(int(batch.offsets[s]), int(batch.offsets[s + 1])):
            rows += [(i, int(batch.page[i]) + more) for more in range(int(pages[i]))]
        offsets.append(len(rows))
    at = np.array([i for i, _ in rows], np.int64)
    columns = {name: getattr(batch, name)[at] for name in ROW_DTYPES}
    columns["page"] = np.array([page for _, page in rows], np.uint32)
    return replace(
        batch,
        offsets=np.array(offsets, np.int64),
        misses_by_cache=batch.misses_by_cache[:, at],
        **columns,
    )


def region_rows_reference(
    regions: Iterable[tuple[int, int, int, int, int]], slice_ns: int
) -> list[tuple[int, int, int, int]]:
    """(slice, address space, page of the address, accesses) of each page of (time, start, end, count, space)."""
    ordered = sorted((each for each in regions if each[2] >> 12 > each[1] >> 12), key=lambda each: each[0])
    found: dict[tuple[int, int, int], int] = defaultdict(int)
    for time_ns, start, end, count, space in ordered:
        number = (time_ns - ordered[0][0]) // slice_ns
        for page in range(start >> 12, end >> 12):
            found[number, space, page] += count
    return sorted((*key, min(count, 2**32 - 1)) for key, count in found.items())
