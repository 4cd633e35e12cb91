"""A program that was recorded on one node, spread over all that have CPUs.

Its threads then run on every node, and they share its data: each event of a page is dealt to a node at random. A burst
stays whole: who begins a sequential walk over a page ends it. Data that only one thread uses would stay with one node;
this a recording of one node cannot know, so a spread program is one whose threads share all they have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pghot.errors import UsageError
from pghot.lab.thinning import cut_slice
from pghot.recording.trace import SliceBatch, Trace
from pghot.recording.trace_view import TraceView


@dataclass(frozen=True, slots=True)
class SpreadTrace(TraceView):
    """`trace` on the nodes that `info` says: lazy and re-iterable like it. Node columns count from 0."""

    seed: int

    def batches(self) -> Iterator[SliceBatch]:
        position = 0
        for batch in self.trace.batches():
            for index in range(batch.slices):
                yield self._spread(batch, index, self.seed * 7919 + position)
                position += 1

    def _spread(self, batch: SliceBatch, index: int, seed: int) -> SliceBatch:
        """Slice `index` with a row for each page and node."""
        parts = cut_slice(batch, index, self.info.nodes, seed)
        node = np.repeat(np.arange(self.info.nodes, dtype=np.int16), np.diff(parts.offsets))
        order = np.argsort(parts.page, kind="stable")
        return SliceBatch(
            start_ns=batch.start_ns[index : index + 1],
            instructions=batch.instructions[index : index + 1],
            offsets=np.array([0, parts.rows], np.int64),
            page=parts.page[order],
            touches=parts.touches[order],
            misses=parts.misses[order],
            sequential=parts.sequential[order],
            writes=parts.writes[order],
            node=node[order],
        )


def spread_over(trace: Trace, nodes: int, seed: int) -> Trace:
    """`trace` as if its threads ran on `nodes` nodes.

    Raises `UsageError` for a single node, and for a trace that has accesses from several nodes already.
    """
    if nodes < 2:
        raise UsageError(
            "the tiers have one node with CPUs: nothing to spread over (--spread)",
            "leave --spread out, or choose tiers such as two-socket-cxl",
        )
    if trace.info.nodes > 1:
        raise UsageError(
            f"'{trace.info.name}' ran on {trace.info.nodes} nodes already: it cannot be spread (--spread)",
            "leave --spread out",
        )
    return SpreadTrace(trace, replace(trace.info, nodes=nodes), seed)
