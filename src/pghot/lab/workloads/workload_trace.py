"""A workload as a trace: slices of a pattern, made on demand, the same in every pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from pghot.arrays import I16, U32
from pghot.lab.workloads.keys import RunKeys
from pghot.lab.workloads.patterns import AccessPattern
from pghot.lab.workloads.rows import Draws, Rows
from pghot.recording.trace import Region, SliceBatch, TraceInfo

DEFAULT_SLICES = 2000
# The initialisation takes at least this many slices: inside a slice the order of the pages is lost.
INIT_SLICES = 64
_BATCH_ROWS = 1 << 18
_BATCH_SLICES = 256


class WorkloadTrace:
    """Implements `recording.trace.Trace`. `make` builds the pattern afresh for every pass over the slices."""

    def __init__(
        self, name: str, run: RunKeys, make: Callable[[], AccessPattern], slices: int, seed: int
    ) -> None:
        self._run, self._make, self._slices, self._seed = run, make, slices, seed
        pattern = make()
        self._pages = pattern.pages
        self._dependent = pattern.dependent()
        self._regions = tuple(pattern.regions(name.rpartition(":")[2]))
        self._info = TraceInfo(
            name=name,
            source="workload",
            slice_ns=max(1, round(self._virtual_ns(run.accesses_per_slice * run.instructions_per_access))),
            ns_per_instruction=run.ns_per_instruction,
            threads=run.threads,
            mlp=pattern.mlp,
            patterns=("sequential", "dependent") if self._dependent.any() else ("sequential",),
            page_bytes=run.page_bytes,
            nodes=run.nodes,
            synchronous=run.synchronous,
            stored_bytes=run.stored_bytes,
            notes=(f"seed {seed}", f"initialisation: {run.init}"),
        )

    @property
    def info(self) -> TraceInfo:
        return self._info

    @property
    def pages(self) -> int:
        return self._pages

    @property
    def regions(self) -> tuple[Region, ...]:
        return self._regions

    def batches(self) -> Iterator[SliceBatch]:
        pending: list[tuple[Rows, I16]] = []
        rows = 0
        start_ns = 0.0
        for part in self._parts():
            pending.append(part)
            rows += len(part[0].page)
            if rows >= _BATCH_ROWS or len(pending) == _BATCH_SLICES:
                batch, start_ns = self._batch(pending, start_ns)
                pending, rows = [], 0
                yield batch
        if pending:
            yield self._batch(pending, start_ns)[0]

    def _parts(self) -> Iterator[tuple[Rows, I16]]:
        """Rows and accessing nodes of each slice."""
        pattern, draws = self._make(), Draws(self._seed)
        for pages in self._init_order(pattern, draws):
            once = np.ones(len(pages), np.uint32)
            yield self._spread(Rows(pages, once, once, 0 * once, once), draws)
        for number in range(self._slices):
            rows = pattern.draw(number / self._slices, self._run.accesses_per_slice, draws)
            yield self._spread(rows, draws)

    def _init_order(self, pattern: AccessPattern, draws: Draws) -> list[U32]:
        """The pages that each slice of the initialisation touches."""
        if self._run.init == "none":
            return []
        order = np.arange(self._pages, dtype=np.uint32)
        if self._run.init == "random":
            order = draws.numpy.permutation(order)
        elif self._run.init != "sequential":
            order = np.argsort(pattern.chance(), kind="stable").astype(np.uint32)
            if self._run.init == "hot-first":
                order = order[::-1]
        parts = min(self._pages, max(INIT_SLICES, -(-self._pages // self._run.accesses_per_slice)))
        return [np.sort(part) for part in np.array_split(order, parts)]

    def _spread(self, rows: Rows, draws: Draws) -> tuple[Rows, I16]:
        """Split each page's row over the nodes that access it."""
        nodes = self._run.nodes
        if nodes == 1:
            return rows, np.zeros(len(rows.page), np.int16)
        touches = self._touches_by_node(rows, draws)
        row, node = np.nonzero(touches)
        part = touches[row, node]
        share = part / rows.touches[row]
        columns = [
            part,
            *(draws.rounded(c[row] * share) for c in (rows.misses, rows.sequential, rows.writes)),
        ]
        touched, missed, sequential, written = columns
        missed = np.minimum(missed, touched)
        split = Rows(
            rows.page[row], touched, missed, np.minimum(sequential, missed), np.minimum(written, touched)
        )
        return split, node.astype(np.int16)

    def _touches_by_node(self, rows: Rows, draws: Draws) -> U32:
        """uint32[rows, nodes]: private pages, the first part of the index space, have one node each."""
        nodes = self._run.nodes
        private = round(self._run.partition * self._pages)
        touches = np.zeros((len(rows.page), nodes), np.uint32)
        mine = rows.page < private
        touches[mine, rows.page[mine].astype(np.int64) * nodes // max(private, 1)] = rows.touches[mine]
        touches[~mine] = draws.numpy.multinomial(rows.touches[~mine], [1 / nodes] * nodes)
        return touches

    def _virtual_ns(self, instructions: float) -> float:
        return instructions * self._run.ns_per_instruction / self._run.threads

    def _batch(self, parts: list[tuple[Rows, I16]], start_ns: float) -> tuple[SliceBatch, float]:
        """The slices as one batch, and when the next one begins."""
        lengths = [len(rows.page) for rows, _ in parts]
        touches = np.array([rows.touches.sum(dtype=np.int64) for rows, _ in parts])
        instructions = (touches * self._run.instructions_per_access).astype(np.uint64)
        ends = start_ns + np.cumsum(self._virtual_ns(1.0) * instructions)
        starts = np.concatenate([[start_ns], ends[:-1]]).astype(np.uint64)
        joined = _joined([rows for rows, _ in parts])
        offsets = np.cumsum([0, *lengths], dtype=np.int64)
        node = np.concatenate([node for _, node in parts])
        page, _, misses, sequential, _ = joined
        dependent = np.where(self._dependent[page], misses - sequential, 0).astype(np.uint32)
        batch = SliceBatch(starts, instructions, offsets, *joined, node, dependent=dependent)
        return batch, float(ends[-1])


def _joined(parts: list[Rows]) -> tuple[U32, U32, U32, U32, U32]:
    """The five columns of the parts, one after another."""
    return (
        np.concatenate([rows.page for rows in parts]),
        np.concatenate([rows.touches for rows in parts]),
        np.concatenate([rows.misses for rows in parts]),
        np.concatenate([rows.sequential for rows in parts]),
        np.concatenate([rows.writes for rows in parts]),
    )
