"""Every second or fourth page of a trace in order of heat: the same program, recorded more coarsely."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pghot.arrays import U32, Bool
from pghot.recording.trace import MemoryTrace, Region, SliceBatch, Trace


def thinned(trace: Trace, one_in: int) -> MemoryTrace:
    """One in so many pages, beginning with the hottest; the instructions of a slice by the misses that it keeps.

    A choice at random would lose the few hottest pages, or keep all of them. Parallelism is that of the whole trace.
    """
    heat = np.zeros(trace.pages, np.int64)
    for batch in trace.batches():
        np.add.at(heat, batch.page, batch.misses.astype(np.int64))
    kept = np.zeros(trace.pages, np.bool_)
    kept[np.argsort(-heat, kind="stable")[::one_in]] = True
    number = (np.cumsum(kept) - 1).astype(np.uint32)
    parts = [_part(batch, kept, number) for batch in trace.batches()]
    pages = int(kept.sum())
    info = replace(trace.info, cache_bytes=(), patterns=("sequential",))
    return MemoryTrace(info, pages, (Region(0, pages, 0, 1 << 32, "[anon]"),), parts)


def _part(batch: SliceBatch, kept: Bool, number: U32) -> SliceBatch:
    row = kept[batch.page]
    before = np.concatenate([[0], np.cumsum(row)])
    missed = np.concatenate([[0], np.cumsum(batch.misses, dtype=np.int64)])
    missed_too = np.concatenate([[0], np.cumsum(batch.misses * row, dtype=np.int64)])
    all_misses, kept_misses = np.diff(missed[batch.offsets]), np.diff(missed_too[batch.offsets])
    share = np.divide(
        kept_misses, all_misses, out=np.full(len(all_misses), kept.mean()), where=all_misses > 0
    )
    return SliceBatch(
        start_ns=batch.start_ns,
        instructions=np.round(batch.instructions * share).astype(np.uint64),
        offsets=before[batch.offsets].astype(np.int64),
        page=number[batch.page[row]],
        touches=batch.touches[row],
        misses=batch.misses[row],
        sequential=batch.sequential[row],
        writes=batch.writes[row],
        node=batch.node[row],
    )
