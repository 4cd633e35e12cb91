"""What a recording holds, as plain data; `pghot report summary` renders it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from pghot.arrays import U32
from pghot.recording.ratios import describe
from pghot.recording.reader import Recording
from pghot.recording.trace import Region, Trace

SCHEMA = "pghot.summary/1"

HOT_SHARES = (0.01, 0.05, 0.10, 0.20, 0.50)
TOP_REGIONS = 20

Counts = npt.NDArray[np.uint64]


def summarise(recording: Recording) -> dict[str, Any]:
    """Every figure of the summary, JSON-ready. Reads the whole recording once.

    Sizes are bytes, times nanoseconds, shares fractions of one. `hot_set` is a list of
    {"pages": share of the footprint, "misses": share of all misses that its hottest pages take}.
    """
    touches, misses, writes = page_totals(recording)
    info = recording.info
    touched = touches > 0
    footprint = int(np.count_nonzero(touched))
    return {
        "schema": SCHEMA,
        "name": info.name,
        "path": recording.path,
        "command": list(info.command),
        "source": info.source,
        "kernel": info.kernel,
        "notes": list(info.notes),
        "threads": info.threads,
        "nodes": info.nodes,
        "sampling_period": info.sampling_period,
        "file_bytes": recording.file_bytes,
        "slices": recording.slices,
        "slice_ns": info.slice_ns,
        "duration_ns": recording.duration_ns,
        "rows": recording.rows,
        "touches": recording.total_touches,
        "misses": recording.total_misses,
        "sequential": recording.total_sequential,
        "writes": recording.total_writes,
        "page_bytes": info.page_bytes,
        "pages": recording.pages,
        "footprint_pages": footprint,
        "footprint_bytes": footprint * info.page_bytes,
        "llc": {"bytes": info.llc_bytes, "ways": info.llc_ways},
        "regions": region_totals(recording.regions, touches, misses, writes)[:TOP_REGIONS],
        "hot_set": hot_set(misses[touched]),
        "compressibility": describe(recording.compressibility),
        "complete": recording.complete,
        "losses": {
            "lost": info.lost,
            "dropped_bytes": recording.dropped_bytes,
            "dropped_slices": recording.dropped_slices,
            "damage": recording.damage,
        },
        "final": recording.final,
    }


def page_totals(trace: Trace) -> tuple[Counts, Counts, Counts]:
    """Touches, misses and writes of each dense page over the whole trace, uint64[pages] each."""
    totals = np.zeros((3, trace.pages), np.uint64)
    for batch in trace.batches():
        add_rows(batch.page, batch.touches, batch.misses, batch.writes, totals)
    return totals[0], totals[1], totals[2]


@njit(cache=True)
def add_rows(page: U32, touches: U32, misses: U32, writes: U32, totals: Counts) -> None:
    """Add each row's touches, misses and writes to uint64[3, pages] `totals` of its page."""
    for i in range(len(page)):
        totals[0, page[i]] += np.uint64(touches[i])
        totals[1, page[i]] += np.uint64(misses[i])
        totals[2, page[i]] += np.uint64(writes[i])


def region_totals(
    regions: tuple[Region, ...], touches: Counts, misses: Counts, writes: Counts
) -> list[dict[str, Any]]:
    """One entry for each region *name*, most misses first, then most touches; pages count only if touched."""
    entries: dict[str, dict[str, Any]] = {}
    for region in regions:
        span = slice(region.first_page, region.first_page + region.pages)
        entry = entries.setdefault(
            region.name, {"name": region.name, "pages": 0, "touches": 0, "misses": 0, "writes": 0}
        )
        entry["pages"] += int(np.count_nonzero(touches[span]))
        entry["touches"] += int(touches[span].sum())
        entry["misses"] += int(misses[span].sum())
        entry["writes"] += int(writes[span].sum())
    return sorted(entries.values(), key=lambda entry: (-entry["misses"], -entry["touches"], entry["name"]))


def hot_set(misses: Counts) -> list[dict[str, float]]:
    """The share of all misses that the hottest 1, 5, 10, 20 and 50 % of these pages take.

    A share of the pages is rounded up to whole pages. Without misses the shares are 0.
    """
    ordered = np.sort(misses)[::-1]
    total = int(ordered.sum())
    curve = []
    for share in HOT_SHARES:
        hottest = int(ordered[: int(np.ceil(share * len(ordered)))].sum())
        curve.append({"pages": share, "misses": hottest / total if total else 0.0})
    return curve
