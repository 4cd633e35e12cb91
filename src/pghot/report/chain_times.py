"""When a run saw some pages and decided on them: its rows of a log of decisions, spread over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pghot.arrays import F64, I64
from pghot.decision_log.row_format import What

BINS = 48  # of time
_DECISIONS = (What.PROMOTED, What.DEMOTED, What.MOVED, What.HELD)


@dataclass(frozen=True, slots=True)
class ChainTimes:
    """What happened in each of `BINS` equal parts of a run.

    seen     float64[BINS] by source: accesses that it reported. A row counts those since the one before it of its
             page: they are spread evenly from there to the last of them
    decided  float64[BINS] by decision, "promoted", "demoted", "moved" and "held": how often. A row that stands for many
             decisions is spread evenly from its first to its last one
    """

    seen: Mapping[str, F64]
    decided: Mapping[What, F64]


def times_of(rows: pa.Table, sources: Sequence[str], lasts_ms: int) -> ChainTimes:
    """`rows` of some pages in one run, in the order of time for each; columns as in `row_format.COLUMNS`.

    Page 7 is seen 6 times in 12 s, then, after its refusals up to 26 s, twice up to 30 s. Page 8 is seen once.

    >>> rows = pa.table({"page": [7, 8, 7], "what": ["held", "undecided", "promoted"], "times": [4, 1, 1],
    ...     "first_ms": [24_000, 48_000, 30_000], "last_ms": [26_000, 48_000, 30_000], "seen": [[6], [1], [2]],
    ...     "seen_ms": [12_000, 1000, 30_000]})
    >>> found = times_of(rows, ["faults"], 48_000)
    >>> found.seen["faults"][[0, 11, 12, 26, 29]].tolist(), found.decided["held"][[24, 25, 26]].tolist()
    ([1.5, 0.5, 0.0, 0.5, 0.5], [2.0, 2.0, 0.0])
    """
    rows = rows.take(np.argsort(rows["page"].to_numpy(), kind="stable"))
    page, first, last = (rows[name].to_numpy().astype(np.int64) for name in ("page", "first_ms", "last_ms"))
    follows = np.concatenate([[False], page[1:] == page[:-1]])[: len(page)]
    since = np.where(follows, np.concatenate([[0], last[:-1]])[: len(page)], 0)
    until = pc.fill_null(rows["seen_ms"], 0).to_numpy().astype(np.int64)
    seen = {}
    for number, source in enumerate(sources):
        count = pc.list_element(rows["seen"], number).to_numpy() if len(page) else np.empty(0)
        seen[source] = spread(count, np.minimum(since, until), until, lasts_ms)
    decided = {}
    for what in _DECISIONS:
        those = pc.equal(rows["what"], what.value).to_numpy()
        if those.any():
            decided[what] = spread(rows["times"].to_numpy()[those], first[those], last[those], lasts_ms)
    return ChainTimes(seen, decided)


def spread(count: np.ndarray, begin_ms: I64, end_ms: I64, lasts_ms: int) -> F64:
    """float64[BINS]: each count spread evenly from its begin to its end; at once where these are one moment.

    >>> spread(np.array([3, 1]), np.array([0, 10]), np.array([30, 10]), 480)[:4].tolist()
    [1.0, 2.0, 1.0, 0.0]
    """
    edges = np.arange(BINS + 1) * (max(1, lasts_ms) / BINS)
    edges[-1] = np.inf
    long = np.maximum(1, end_ms - begin_ms)
    done = np.array([np.dot(count, np.clip((edge - begin_ms) / long, 0, 1)) for edge in edges])
    found: F64 = np.diff(done)
    return found
