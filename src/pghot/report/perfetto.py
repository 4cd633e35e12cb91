"""The timeline as a trace for Perfetto (ui.perfetto.dev): counters over time in the JSON trace event format.

A region is a counter of process 1, a thread one of process 2. A counter keeps its value until the next event: each has
one where a bin begins, and zeros where nobody looked and at the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64
from pghot.recording.activity import COLUMNS, Activity

SUFFIX: Final = ".perfetto-trace"
REGIONS, THREADS = 1, 2


def trace(found: Activity) -> bytes:
    """Rates per second by region and by thread. Times are microseconds from the first bin on."""
    document = {
        "displayTimeUnit": "ms",
        "traceEvents": [
            *_process(REGIONS, f"{found.name}: regions", 0),
            *_process(THREADS, f"{found.name}: threads", 1),
            *_counters(REGIONS, found, found.regions, found.by_region),
            *_counters(THREADS, found, found.threads, found.by_thread),
        ],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _process(number: int, name: str, order: int) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "pid": number, "name": "process_name", "args": {"name": name}}
    yield {"ph": "M", "pid": number, "name": "process_sort_index", "args": {"sort_index": order}}


def _counters(
    process: int, found: Activity, names: tuple[str, ...], counts: npt.NDArray[np.integer[Any]]
) -> Iterator[dict[str, Any]]:
    """counts: [columns, names, bins]; an event where any of a name's counts is another than in the bin before."""
    rates = np.where(found.recorded, counts, 0) * (1e9 / found.time.bin_ns)
    rates = np.concatenate([rates, np.zeros((*rates.shape[:2], 1))], axis=2)
    for number, name in enumerate(names):
        own = rates[:, number]
        changes: I64 = np.flatnonzero(np.append(True, (own[:, 1:] != own[:, :-1]).any(axis=0)))
        for bin_ in changes.tolist():
            values = {
                f"{column} per second": round(float(own[i, bin_]), 3) for i, column in enumerate(COLUMNS)
            }
            at_us = bin_ * found.time.bin_ns / 1000
            yield {"ph": "C", "pid": process, "name": name, "ts": at_us, "args": values}
