"""One pass over a recording for all sizes of the fast tier at once: see `lab.curve`.

A page has a position in the order in which nodes are filled, and a size of the fast tier says from which position on
each node holds pages. So misses are counted by position, once, and every size only adds them up differently.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pghot.arrays import F32, F64, I64, U32
from pghot.jit import njit
from pghot.lab.capacity import size_nodes
from pghot.lab.epochs import Epochs
from pghot.lab.stack_distance import StackDistances
from pghot.sim.machine.slice_timing import SliceTiming
from pghot.sim.machine.topology import Topology

TIMED = 120  # about so many parts of a pass are timed, each of several recorded slices


class Filling:
    """Which node a page is on, for every size, when nodes are filled one after the other, fastest first.

    The first size is a machine without fast memory, the last one a machine with nothing else.

    order       nodes by tier, then by distance from the CPU that the program runs on
    cpu_node    the node of this CPU
    bounds      int64[sizes + 2, nodes + 1]  first position on each node of `order`, and the footprint
    edges       int64[bins + 1]  all bounds: positions between two of them are on one node whatever the size
    fast_bytes  of each size but the first and the last
    """

    def __init__(
        self, topology: Topology, footprint_pages: int, page_bytes: float, shares: Sequence[float]
    ) -> None:
        rank, self.cpu_node = topology.ranks(), topology.with_cpus()[0]
        distance = topology.distance_matrix()[self.cpu_node]
        self.order = sorted(range(len(rank)), key=lambda node: (rank[node], distance[node], node))
        top = list(topology.top_nodes())
        self.lower = np.array([node not in top for node in self.order])
        self.fast_bytes = []
        rows = [[0] * len(rank)]
        for share in shares:
            pages = size_nodes(topology, footprint_pages, page_bytes, share)
            self.fast_bytes.append(float(pages[top].sum() * page_bytes))
            # Programs may take memory down to the watermark `min`.
            pages = pages - np.ceil(pages * topology.watermarks.min).astype(np.int64)
            rows.append([0, *np.cumsum(pages[self.order])[:-1].tolist()])
        rows.append([0] + [footprint_pages] * (len(rank) - 1))
        bounds = np.column_stack([rows, np.full(len(rows), footprint_pages)])
        self.bounds: I64 = np.minimum(bounds, footprint_pages).astype(np.int64)
        self.edges: I64 = np.unique(self.bounds)
        self._at = np.searchsorted(self.edges, self.bounds)

    def bin_of(self, position: I64) -> I64:
        """The bin of each position."""
        found: I64 = np.searchsorted(self.edges, position, side="right") - 1
        return found

    def by_node(self, by_bin: F64) -> F64:
        """float64[sizes + 2, nodes, ..]: what the nodes of `order` have of float64[bins, ..]."""
        running = np.concatenate([np.zeros_like(by_bin[:1]), np.cumsum(by_bin, axis=0)])
        found: F64 = running[self._at[:, 1:]] - running[self._at[:, :-1]]
        return found


@njit(cache=True)
def add_served(
    page: U32,
    touches: U32,
    misses: U32,
    sequential: U32,
    writes: U32,
    overlap: F32,
    fixed: I64,
    recency: I64,
    served: F64,
) -> None:
    """Add the misses of some rows to the bins that serve them, for every way to fill the nodes.

    fixed    int64[ways - 1, pages]  the bin of each page, where pages have a place
    recency  int64[rows that missed]  the bin in which a cache by recency finds the page; further misses of a row find
             it in front
    served   float64[ways, bins, 4]  as in `sim.machine.touch.serve`, by bin; the last way is recency
    """
    missing = 0
    last = len(fixed)
    for row in range(len(page)):
        missed = misses[row]
        if missed == 0:
            continue
        index = page[row]
        random = float(missed - sequential[row])
        dirty = missed * (writes[row] / touches[row]) if writes[row] else 0.0
        waits = random * overlap[index]
        for way in range(last):
            _add(served[way, fixed[way, index]], random, sequential[row], dirty, waits, 1.0)
        first = 1.0 / missed
        _add(served[last, recency[missing]], random, sequential[row], dirty, waits, first)
        _add(served[last, 0], random, sequential[row], dirty, waits, 1.0 - first)
        missing += 1


@njit(cache=True)
def _add(served: F64, random: float, sequential: float, dirty: float, waits: float, part: float) -> None:
    served[0] += part * random
    served[1] += part * sequential
    served[2] += part * dirty
    served[3] += part * waits


def play_pass(
    table: Epochs, filling: Filling, in_flight: float | F64, timing: SliceTiming, instruction_ns: float
) -> tuple[F64, F64]:
    """Misses that lower tiers serve, and time in ns: float64[ways, sizes + 2] each, for first touch, hottest, recency.

    in_flight       misses in flight per core, for all pages or float64[pages]
    instruction_ns  time that an instruction takes all threads together
    """
    pages = table.trace.pages
    overlap = np.broadcast_to(1 / np.asarray(in_flight), pages).astype(np.float32)
    orders = (_first_touched(table), np.argsort(-table.total, kind="stable"))
    fixed = np.stack([filling.bin_of(_position(order, pages)) for order in orders])
    shape = (len(orders) + 1, len(filling.edges) - 1, 4)
    distances = StackDistances(pages)
    slow, times = (np.zeros((shape[0], len(filling.bounds))) for _ in range(2))
    served, instructions, slices = np.zeros(shape), 0, 0
    together = -(-table.slices // TIMED)
    for batch in table.batches():
        for first in range(0, batch.slices, together):
            last = min(first + together, batch.slices)
            rows = slice(batch.offsets[first], batch.offsets[last])
            page, misses = batch.page[rows], batch.misses[rows]
            # A first request finds nothing anywhere: its page comes into the fast tier then.
            found = np.maximum(distances.of(page[misses > 0]), 0)
            add_served(
                page, batch.touches[rows], misses, batch.sequential[rows], batch.writes[rows],
                overlap, fixed, filling.bin_of(found), served,
            )  # fmt: skip
            instructions += int(batch.instructions[first:last].sum())
            slices += last - first
            if slices >= together:
                _close(filling, served, instructions * instruction_ns, timing, slow, times)
                instructions = slices = 0
    if slices:
        _close(filling, served, instructions * instruction_ns, timing, slow, times)
    return slow, times


def _close(filling: Filling, served: F64, busy_ns: float, timing: SliceTiming, slow: F64, times: F64) -> None:
    """Time one part of the pass for every way and size, add it to `slow` and `times`, and begin the next part."""
    for way in range(len(served)):
        for size, by_node in enumerate(filling.by_node(served[way])):
            timing.served[:] = 0.0
            timing.served[filling.cpu_node, filling.order] = by_node
            slow[way, size] += by_node[filling.lower, :2].sum()
            times[way, size] += timing.run_slice(busy_ns, 0.0)[0]
    served[:] = 0.0


def _first_touched(table: Epochs) -> npt.NDArray[np.int64]:
    """The touched pages in the order of their first touches."""
    seen = np.zeros(table.trace.pages, np.bool_)
    found = []
    for batch in table.batches():
        page = batch.page[~seen[batch.page]]
        fresh, at = np.unique(page, return_index=True)
        found.append(fresh[np.argsort(at, kind="stable")])
        seen[fresh] = True
    return np.concatenate(found).astype(np.int64)


def _position(order: npt.NDArray[np.int64], pages: int) -> I64:
    """int64[pages]: where each page stands in `order`; those that are not in it never occur."""
    position = np.zeros(pages, np.int64)
    position[order] = np.arange(len(order))
    return position
