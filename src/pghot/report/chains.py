"""What each run of a log of decisions did about some pages: the chain of one page, or the sums of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pghot.arrays import F64, NOWHERE, Bool
from pghot.decision_log.reading import DecisionLog, RunRows
from pghot.decision_log.row_format import What
from pghot.recording.target import Target
from pghot.report.chain_sums_text import sums
from pghot.report.chain_text import chain
from pghot.report.chain_times import BINS

_PLACES = (What.PLACED, What.PROMOTED, What.DEMOTED, What.MOVED, What.FREED)


@dataclass(frozen=True, slots=True)
class Chain:
    """What one run did about the pages.

    facts      of the run, see `RunSpec.facts`
    lines      in words
    rows       of one page its rows; of several the sums of their rows by what was decided, why, and by whom
    lasts_ms   how long the run took
    top_share  float64[BINS]  of those that were touched by then, the share that was in the top tier at the end of each
               part of this time (0 before the first); None: they were never touched
    logged     the rows that all this is of; columns as in `row_format.COLUMNS`
    """

    facts: Mapping[str, Any]
    lines: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    lasts_ms: int
    top_share: F64 | None
    logged: pa.Table


def chains_of(log: DecisionLog, target: Target, page_bytes: int) -> list[Chain]:
    """A chain for each run of the log. page_bytes: of the recording. Raises as `DecisionLog.runs`."""
    pages = log.pages_of(target.spans, page_bytes)
    top = log.top
    found = []
    for run in log.runs(pages):
        dry = not run.facts.get("apply", True)  # then what is logged as moved stayed where it was
        share = None if dry else top_share(run.rows, top, run.lasts_ms)
        if len(pages) == 1:
            lines, rows = chain(run, log.nodes, top.tolist()), run.rows.to_pylist()
        else:
            rows = summed(run.rows)
            lines = sums(run, rows, log.nodes, seen_of(run), share)
        found.append(Chain(run.facts, lines, rows, run.lasts_ms, share, run.rows))
    return found


def summed(rows: pa.Table) -> list[dict[str, Any]]:
    """The rows of many pages by what was decided, why, from where to where and by whom; the most frequent first."""
    keys = ["what", "why", "source", "target", "by"]
    by_kind = rows.group_by(keys).aggregate(
        [
            ("page", "count_distinct"),
            ("times", "sum"),
            ("touches", "sum"),
            ("misses", "sum"),
            ("first_ms", "min"),
            ("last_ms", "max"),
        ]
    )
    names = {"page_count_distinct": "pages", "first_ms_min": "first_ms", "last_ms_max": "last_ms"}
    found = [
        {names.get(name, name.removesuffix("_sum")): value for name, value in row.items()}
        for row in by_kind.to_pylist()
    ]
    return sorted(found, key=lambda row: (-row["times"], row["what"], row["why"] or ""))


def seen_of(run: RunRows) -> list[tuple[str, int, int]]:
    """For each source its name, what it saw of the pages, and of how many."""
    found = []
    for number, source in enumerate(run.facts["sources"]):
        count = pc.list_element(run.rows["seen"], number) if run.rows.num_rows else pa.array([], pa.uint32())
        pages = pc.count_distinct(run.rows["page"].filter(pc.greater(count, 0))).as_py()
        found.append((source, pc.sum(count).as_py() or 0, pages))
    return found


def top_share(rows: pa.Table, top: Bool, lasts_ms: int) -> F64 | None:
    """See `Chain.top_share`.

    >>> places = pa.table({"page": [3, 4, 3], "what": ["placed", "placed", "promoted"], "source": [None, None, 1],
    ...     "target": [1, 0, 0], "last_ms": [0, 0, 30_000]})
    >>> top_share(places, np.array([True, False]), 48_000)[[0, 28, 30, 47]].tolist()
    [0.5, 0.5, 1.0, 1.0]
    """
    kinds = [each.value for each in _PLACES]
    moves = rows.filter(pc.is_in(rows["what"], pa.array(kinds)))
    if not moves.num_rows:
        return None
    on_top = np.zeros(NOWHERE + 1, np.int64)
    on_top[: len(top)] = top
    source, target = (
        pc.fill_null(moves[end], NOWHERE).to_numpy().astype(np.int64) for end in ("source", "target")
    )
    time = moves["last_ms"].to_numpy().astype(np.int64)
    bins = np.minimum(time * BINS // max(1, lasts_ms), BINS - 1)
    gained = np.bincount(bins, on_top[target] - on_top[source], BINS)
    first = pc.equal(moves["what"], What.PLACED.value).to_numpy()
    placed = np.cumsum(np.bincount(bins[first], minlength=BINS))
    share: F64 = np.cumsum(gained) / np.maximum(1, placed)
    return share
