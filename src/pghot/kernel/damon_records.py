"""The records of the tracepoint damon:damon_aggregated (include/trace/events/damon.h): one for each region."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pghot.arrays import I64, U32, U64
from pghot.tracepoints import fields_of

# Rows of the decoded records, and the fields of the tracepoint that they are.
FIELDS = ("target_id", "nr_regions", "start", "end", "nr_accesses", "age")
TARGET, REGIONS, START, END, ACCESSES, AGE = range(6)
# What a pass counts.
TAIL, FOUND, LOST = range(3)


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions of one target at the end of one aggregation.

    target      index of the target, as committed
    start, end  uint64[K]  bytes, ascending
    accesses    uint32[K]  samples of the aggregation that found the region's sampled page accessed
    age         uint32[K]  aggregations for which this has stayed about the same
    """

    target: int
    start: U64
    end: U64
    accesses: U32
    age: U32


def parse_format(text: str) -> I64:
    """int64[6, 2]: offset and size in bytes of each of `FIELDS` in the raw data, from the event's format file.

    Raises `ValueError` when a field of 4 or 8 bytes is missing, or is at an odd place.
    """
    found = fields_of(text)
    if missing := [name for name in FIELDS if name not in found]:
        raise ValueError(f"no field {missing[0]}")
    layout = np.array([found[name] for name in FIELDS], np.int64)
    if (layout[:, 0] % 4).any() or (layout[:, 0] > 4096).any():
        raise ValueError("fields of other places")
    return layout


def newest_of(records: U64) -> list[Regions]:
    """The last whole group of each target in uint64[6, K] records; parts of groups are left out.

    A group is one target's regions in ascending order, as many as its records say.
    """
    if records.shape[1] == 0:
        return []
    target, start = records[TARGET], records[START]
    edge = np.flatnonzero((target[1:] != target[:-1]) | (start[1:] <= start[:-1])) + 1
    edges = [0, *edge.tolist(), records.shape[1]]
    last: dict[int, slice] = {}
    for first, end in pairwise(edges):
        if end - first == int(records[REGIONS, first]):
            last[int(target[first])] = slice(first, end)
    return [
        Regions(
            which, start[held].copy(), records[END, held].copy(), records[ACCESSES, held].astype(np.uint32),
            records[AGE, held].astype(np.uint32),
        )
        for which, held in sorted(last.items())
    ]  # fmt: skip
