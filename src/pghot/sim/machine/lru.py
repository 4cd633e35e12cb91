"""Generations of pages, as the kernel's multi-gen LRU keeps them (mm/vmscan.c, CONFIG_LRU_GEN).

A page's generation is the sequence number of the last ageing walk that found it young. Reclaim takes pages of the
oldest generations, and never of the youngest two. When nothing older is left, it ages again, but not at once: pages
that had no time to be touched between two walks are not old.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pghot.arrays import U8, U32, Bool
from pghot.jit import njit
from pghot.ties import from_first

MIN_GENERATIONS = 2  # MIN_NR_GENS: reclaim keeps this many youngest generations
# Kernel time in which reclaim ages once. kswapd sleeps as long when it has balanced its node (HZ / 10 in
# kswapd_try_to_sleep(), mm/vmscan.c). A busier one may age sooner (est.); here it must not age once for each slice.
AGEING_MS = 100.0


@njit(cache=True)
def age_pages(young: npt.NDArray[np.uint8], generation: npt.NDArray[np.uint32], sequence: int) -> None:
    """Move young pages to generation `sequence` and clear their A-bits."""
    for page in range(len(young)):
        if young[page]:
            generation[page] = sequence
            young[page] = 0


@njit(cache=True)
def take_old(queue: U32, place: U8, node: int, young: U8, taken: Bool, out: U32) -> tuple[int, int]:
    """Take pages from the head of a queue until `out` is full; returns how many, and how much of the queue was used.

    queue  uint32[N]     distinct pages, oldest first
    taken  bool[pages]   True for pages that were taken before
    out    uint32[K]     set: pages on `node` that are not young and were not taken before
    """
    found = used = 0
    while found < len(out) and used < len(queue):
        page = queue[used]
        used += 1
        if place[page] == node and not young[page] and not taken[page]:
            out[found] = page
            found += 1
    return found, used


class Generations:
    """The generations of all pages of the simulated machine.

    ageing_ns    `AGEING_MS` on the machine's clock
    first_page   of equally old pages, those from this one on come first
    young       uint8[pages]   A-bit since the last ageing walk; set by the machine's touch kernel
    generation  uint32[pages]
    """

    def __init__(self, pages: int, ageing_ns: float, first_page: int = 0) -> None:
        self.ageing_ns, self.first_page = ageing_ns, first_page
        self.young = np.zeros(pages, np.uint8)
        self.generation = np.zeros(pages, np.uint32)
        self.sequence = 0
        self._aged_ns = -1.0
        self._queues: dict[int, U32] = {}
        self._taken = np.zeros(pages, np.bool_)  # by `oldest`, while it runs

    def age(self, now_ns: float) -> None:
        """One ageing walk over every page, at `now_ns`."""
        self._aged_ns = now_ns
        self.sequence += 1
        age_pages(self.young, self.generation, self.sequence)
        self._queues.clear()

    def oldest(
        self,
        place: npt.NDArray[np.uint8],
        node: int,
        count: int,
        now_ns: float,
        spared: Bool | None = None,
    ) -> tuple[npt.NDArray[np.uint32], int]:
        """Up to `count` pages of `node` from its oldest generations, and how many ageing walks that took.

        None of those `spared` (bool[pages]); they keep their place in the queue.

        Pages that were touched since they were queued get a second chance, as on a real LRU. The youngest two
        generations are spared. Of these walks there is at most one in each `ageing_ns`, however short the slices are.
        """
        walks = found = 0
        out = np.empty(min(count, len(place)), np.uint32)
        while found < len(out):
            queue = self._queues.get(node)
            if queue is None:
                queue = self._build_queue(place, node)
            waiting = queue[:0]
            if spared is not None:
                waiting, queue = queue[spared[queue]], queue[~spared[queue]]
            more, used = take_old(queue, place, node, self.young, self._taken, out[found:])
            found += more
            self._queues[node] = (
                self._by_age(np.concatenate([waiting, queue[used:]])) if len(waiting) else queue[used:]
            )
            if found < len(out):
                if self._aged_ns // self.ageing_ns == now_ns // self.ageing_ns:
                    break
                self.age(now_ns)
                walks += 1
                # A queue built after a walk contains the pages that were taken before it once more.
                self._taken[out[:found]] = True
        if walks:
            self._taken[out[:found]] = False
        return out[:found], walks

    def coldest(self, place: npt.NDArray[np.uint8], node: int, count: int) -> npt.NDArray[np.uint32]:
        """The `count` pages of `node` that were touched longest ago, from all generations: for direct reclaim."""
        found = self._pages(place == node)
        age = self.generation[found].astype(np.int64) + np.where(self.young[found] > 0, self.sequence + 1, 0)
        return found[np.argsort(age, kind="stable")[:count]]

    def youngest(self, place: npt.NDArray[np.uint8], node: int, count: int) -> npt.NDArray[np.uint32]:
        """Up to `count` pages of `node` that the last ageing walk found young."""
        if self.sequence == 0:
            return np.empty(0, np.uint32)
        return self._pages((place == node) & (self.generation == self.sequence))[:count]

    def _build_queue(self, place: npt.NDArray[np.uint8], node: int) -> npt.NDArray[np.uint32]:
        limit = self.sequence - MIN_GENERATIONS
        if limit < 0:
            return np.empty(0, np.uint32)
        return self._by_age(self._pages((place == node) & (self.generation <= limit)))

    def _by_age(self, page: U32) -> U32:
        return page[np.argsort(self.generation[page], kind="stable")]

    def _pages(self, chosen: Bool) -> U32:
        """The chosen ones of all pages, from `first_page` on."""
        return from_first(np.flatnonzero(chosen).astype(np.uint32), self.first_page)
