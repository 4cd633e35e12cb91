"""The life of a page or a region, and what policies did about it, for programs: a JSON document and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from pghot.recording.life import COLUMNS, Life
from pghot.recording.target import Target
from pghot.report.chains import Chain

if TYPE_CHECKING:
    import pyarrow as pa

EXPLAIN = "pghot.explain/1"
_ROW = ("what", "why", "source", "target", "by", "first_ms", "last_ms", "times", "touches", "misses")


def document(found: Life, chains: Sequence[Chain], not_known: list[str]) -> dict[str, Any]:
    """`runs` is empty without a log. Each has the words and the rows that they are made of."""
    return {
        "schema": EXPLAIN,
        "name": found.name,
        "what": found.target.title,
        "page_bytes": found.page_bytes,
        "pages": found.target.pages,
        "spans": [asdict(span) for span in found.target.spans],
        "symbols": None if found.target.symbols is None else asdict(found.target.symbols),
        "allocations": [asdict(each) for each in found.allocations],
        "touched_pages": found.touched_pages,
        "slices": found.slices,
        "first_s": found.first_s,
        "last_s": found.last_s,
        "miss_share": found.miss_share,
        "colder_share": found.colder_share,
        "first_ns": found.time.first_ns,
        "bin_ns": found.time.bin_ns,
        "bins": found.time.bins,
        "recorded": found.recorded.tolist(),
        **{column: found.counts[number].tolist() for number, column in enumerate(COLUMNS)},
        "runs": _runs(chains),
        "not_known": not_known,
    }


def live_document(
    name: str, target: Target, page_bytes: int, chains: Sequence[Chain], not_known: Sequence[str]
) -> dict[str, Any]:
    """The same of pages of a live run, of which only a log tells: without what a recording knows."""
    return {
        "schema": EXPLAIN,
        "name": name,
        "what": target.title,
        "page_bytes": page_bytes,
        "pages": target.pages,
        "spans": [asdict(span) for span in target.spans],
        "runs": _runs(chains),
        "not_known": list(not_known),
    }


def _runs(chains: Sequence[Chain]) -> list[dict[str, Any]]:
    return [
        {
            **each.facts,
            "lasts_ms": each.lasts_ms,
            "top_share": None if each.top_share is None else each.top_share.tolist(),
            "words": list(each.lines),
            "rows": list(each.rows),
        }
        for each in chains
    ]


def table(found: Life, chains: Sequence[Chain]) -> pa.Table:
    """With runs a line for each of their rows, else for each bin of time in which somebody looked."""
    import pyarrow as pa

    if chains:
        return chain_table(chains)
    bins = np.flatnonzero(found.recorded)
    return pa.table(
        {
            "start_s": bins * found.time.bin_ns / 1e9,
            **{column: found.counts[number, bins] for number, column in enumerate(COLUMNS)},
        }
    )


def chain_table(chains: Sequence[Chain]) -> pa.Table:
    """A line for each row of the runs."""
    import pyarrow as pa

    lines = [(each.facts["label"], row) for each in chains for row in each.rows]
    columns = {name: pa.array([row[name] for _, row in lines]) for name in _ROW}
    return pa.table({"run": pa.array([label for label, _ in lines], pa.string()), **columns})
