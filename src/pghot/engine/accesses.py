"""What a source hands to a store: page accesses, always as arrays, never one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

# How a source learns of accesses, as the kernel's counters tell them apart; None: by no mechanism of its own.
Mechanism = Literal["hint fault", "hardware", "page-table scan", None]

# What a source sees, best first: pages of every tier; regions of pages; only pages that are written; only pages below
# the top tier; only how many pages are in use, and not which.
Sees = Literal["any", "regions", "writes", "lower", "counts"]


class Source(Protocol):
    """What a source says of itself, in the lab and live.

    name       as in `--source`
    summary    one line for `pghot list sources`
    mechanism  how it sees
    inline     it works in the program's own context, in a fault or an interrupt; the others have a thread
    released   a released kernel has what it takes
    sees       see `Sees`
    """

    name: str
    summary: str
    mechanism: Mechanism
    inline: bool
    released: bool
    sees: Sees


def sees_top_tier(source: Source | type[Source]) -> bool:
    """Whether it reports pages of the top tier. If it does not, being unseen says nothing about a page there."""
    return source.sees in ("any", "regions", "writes")


def by_mechanism(source: type[Source]) -> tuple[int, bool]:
    """Sorts sources for lists: by mechanism, and within one those first that a released kernel has."""
    return get_args(Mechanism).index(source.mechanism), not source.released


@dataclass(
    slots=True
)  # not frozen: made in every slice of the lab, a frozen one takes four times as long to make
class Accesses:
    """Accesses that one source saw, all stamped with the time at which it reported them.

    page    uint32[K]  dense page; a page may appear more than once
    node    int16[K]   node of the accessing CPU, -1 where the source cannot know it
    count   uint32[K]  accesses (or samples) behind this report
    time_ms            kernel milliseconds at which the source reported
    hint_fault         these are NUMA hint faults: they carry a latency and never open a new window
                       in the first design's record (FACTS section 1)
    latency_ms  uint32[K] or None: fault time - scan time, for hint faults only
    """

    page: npt.NDArray[np.uint32]
    node: npt.NDArray[np.int16]
    count: npt.NDArray[np.uint32]
    time_ms: int
    hint_fault: bool = False
    latency_ms: npt.NDArray[np.uint32] | None = None

    def __len__(self) -> int:
        return len(self.page)

    def only(self, kept: npt.NDArray[np.bool_]) -> Accesses:
        """Those of them that are `kept`."""
        latency_ms = None if self.latency_ms is None else self.latency_ms[kept]
        return Accesses(
            self.page[kept], self.node[kept], self.count[kept], self.time_ms, self.hint_fault, latency_ms
        )


_NONE_32, _NONE_16 = np.empty(0, np.uint32), np.empty(0, np.int16)


def no_accesses(time_ms: int) -> Accesses:
    """An empty report."""
    return Accesses(_NONE_32, _NONE_16, _NONE_32, time_ms)
