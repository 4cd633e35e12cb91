"""The reports of a recording for programs: JSON documents, and tables with a line for each value."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from pghot.recording.activity import COLUMNS, Activity
from pghot.recording.heat import HeatMap
from pghot.recording.time_bins import TimeBins
from pghot.recording.working_set import PERCENTS, WorkingSet

if TYPE_CHECKING:
    import pyarrow as pa

HEATMAP, WSS, TIMELINE = "pghot.heatmap/1", "pghot.wss/1", "pghot.timeline/1"


def heat_document(found: HeatMap, not_known: list[str]) -> dict[str, Any]:
    """`cells` has a list for each row of `rows`, with a count for each bin of time."""
    return {
        "schema": HEATMAP,
        "name": found.name,
        "measure": found.measure,
        "page_bytes": found.page_bytes,
        **_time(found.time, found.recorded.tolist()),
        "rows": [asdict(row) for row in found.rows],
        "cells": found.cells.tolist(),
        "not_known": not_known,
    }


def heat_table(found: HeatMap) -> pa.Table:
    """A line for each cell, row after row; bins in which nobody looked are left out."""
    import pyarrow as pa

    bins = np.flatnonzero(found.recorded)
    columns = {name: [getattr(row, name) for row in found.rows] for name in _ROW}
    which = pa.array(np.repeat(np.arange(len(found.rows)), len(bins)))
    types = {"start_address": pa.uint64(), "end_address": pa.uint64(), "folded": pa.bool_()}
    texts = {"name": pa.string(), "kind": pa.string()}
    table = {
        name: pa.array(values, {**types, **texts}.get(name, pa.int64())).take(which)
        for name, values in columns.items()
    }
    table["start_s"] = pa.array(np.tile(bins * found.time.bin_ns / 1e9, len(found.rows)))
    table[found.measure] = pa.array(found.cells[:, bins].ravel())
    return pa.table(table)


_ROW = ("space", "start_address", "end_address", "name", "kind", "regions", "pages", "folded")


def wss_document(found: WorkingSet, not_known: list[str]) -> dict[str, Any]:
    """Each list has a value for each window; null where nobody looked."""
    return {
        "schema": WSS,
        "name": found.name,
        **_time(found.time, found.recorded.tolist()),
        **{name: _known(values, found) for name, values in _wss_columns(found).items()},
        "not_known": not_known,
    }


def wss_table(found: WorkingSet) -> pa.Table:
    """A line for each window in which somebody looked."""
    import pyarrow as pa

    windows = np.flatnonzero(found.recorded)
    return pa.table(
        {
            "start_s": windows * found.time.bin_ns / 1e9,
            **{name: values[windows] for name, values in _wss_columns(found).items()},
        }
    )


def _wss_columns(found: WorkingSet) -> dict[str, np.ndarray[Any, Any]]:
    taking = {
        f"bytes_of_{percent}": pages * found.page_bytes
        for percent, pages in zip(PERCENTS, found.taking, strict=True)
    }
    return {"touched_bytes": found.touched * found.page_bytes, **taking, "misses": found.misses}


def _known(values: np.ndarray[Any, Any], found: WorkingSet) -> list[int | None]:
    return [
        value if looked else None
        for value, looked in zip(values.tolist(), found.recorded.tolist(), strict=True)
    ]


def timeline_document(found: Activity, not_known: list[str]) -> dict[str, Any]:
    """For each region and each thread its counts in each bin; for a region also how many threads touched it."""
    return {
        "schema": TIMELINE,
        "name": found.name,
        **_time(found.time, found.recorded.tolist()),
        "regions": [
            {
                "name": name,
                **{column: found.by_region[i, number].tolist() for i, column in enumerate(COLUMNS)},
                "threads": found.threads_at_work[number].tolist(),
            }
            for number, name in enumerate(found.regions)
        ],
        "threads": [
            {
                "name": name,
                **{column: found.by_thread[i, number].tolist() for i, column in enumerate(COLUMNS)},
            }
            for number, name in enumerate(found.threads)
        ],
        "not_known": not_known,
    }


def timeline_table(found: Activity) -> pa.Table:
    """A line for each region and bin, then for each thread and bin; `threads` is 1 there."""
    import pyarrow as pa

    bins = np.flatnonzero(found.recorded)
    who = [("region", name) for name in found.regions] + [("thread", name) for name in found.threads]
    which = pa.array(np.repeat(np.arange(len(who)), len(bins)))
    counts = np.concatenate([found.by_region, found.by_thread], axis=1)[:, :, bins]
    threads = np.concatenate([found.threads_at_work, (found.by_thread[0] > 0).astype(np.int64)], axis=0)[
        :, bins
    ]
    return pa.table(
        {
            "of": pa.array([of for of, _ in who], pa.string()).take(which),
            "name": pa.array([name for _, name in who], pa.string()).take(which),
            "start_s": np.tile(bins * found.time.bin_ns / 1e9, len(who)),
            **{column: counts[number].ravel() for number, column in enumerate(COLUMNS)},
            "threads": threads.ravel(),
        }
    )


def _time(time: TimeBins, recorded: list[bool]) -> dict[str, Any]:
    return {"first_ns": time.first_ns, "bin_ns": time.bin_ns, "bins": time.bins, "recorded": recorded}
