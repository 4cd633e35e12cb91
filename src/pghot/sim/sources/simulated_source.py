"""The seam of the lab's sources: what a source can see of a simulated slice, and what watching it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pghot.engine.accesses import Accesses, Source
from pghot.ties import first_page


@dataclass(slots=True)
class SliceView:
    """One simulated slice as the hardware sees it. Row arrays as in `recording.trace.SliceBatch`.

    place       uint8[pages]  node that holds each page now, 255 = never touched
    lower       bool[nodes]   True for nodes below the top tier
    now_ms                    kernel milliseconds at the end of the slice (the machine's clock times K)
    dt_ns                     how long the slice took, real nanoseconds of the simulated machine
    threads                   cores that ran the slice
    instructions              instructions of all threads in the slice
    busy                      the source's kernel thread has not yet finished its last work
    """

    page: npt.NDArray[np.uint32]
    touches: npt.NDArray[np.uint32]
    misses: npt.NDArray[np.uint32]
    sequential: npt.NDArray[np.uint32]
    writes: npt.NDArray[np.uint32]
    node: npt.NDArray[np.int16]
    place: npt.NDArray[np.uint8]
    lower: npt.NDArray[np.bool_]
    now_ms: float
    dt_ns: float
    threads: int
    instructions: int
    busy: bool = False

    def keep(self, kept: npt.NDArray[np.bool_]) -> None:
        """Drop the rows that are not in `kept`."""
        self.page, self.touches, self.misses = self.page[kept], self.touches[kept], self.misses[kept]
        self.sequential, self.writes, self.node = self.sequential[kept], self.writes[kept], self.node[kept]


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """What every simulated source is built from.

    pages       size of the dense index space
    page_bytes  bytes of one page (4096, or 2 MiB when folios are moved whole)
    nodes       number of memory nodes
    group_pages K, real pages that one page stands for: byte quantities such as the 256 MiB scan step are divided by
                it; periods are not, because `now_ms` runs K times faster than the machine's clock
    seed        for sources that sample, and for where scans begin
    threads     threads of the program
    unit_pages  real pages that the policy counts together: all samples of a unit are one count
    spaces      uint32 arrays, the pages of each address space; none if all are one's
    """

    pages: int
    page_bytes: int
    nodes: int
    group_pages: float = 1.0
    seed: int = 0
    threads: int = 1
    unit_pages: float = 1.0
    spaces: Sequence[npt.NDArray[np.uint32]] = ()

    @property
    def first_page(self) -> int:
        """The page that scans in the order of page numbers begin at, see `pghot.ties`."""
        return first_page(self.seed, self.pages)


@dataclass(slots=True)  # not frozen, see `Accesses`
class Report:
    """What a source saw in a slice, and what it cost.

    app_ns     time taken from the application's threads (summed over them)
    kernel_ns  time that kernel threads took on other cores
    traffic    bytes of each node's bandwidth that watching took
    """

    accesses: Accesses
    app_ns: float = 0.0
    kernel_ns: float = 0.0
    traffic: Mapping[int, float] = field(default_factory=dict)


class SimulatedSource(Source, Protocol):
    """A source of the lab. `observe` is called once for each slice, in order.

    clairvoyant   no real machine could have it: it is a yardstick
    awaits        what it takes beyond a released kernel, in words; only a source that is not `released` has this
    live          name of the live source that sees the same with a released kernel; left out if there is none
    live_options  options with which it is what that live source is; left out if they are its own
    """

    clairvoyant: bool

    def observe(self, view: SliceView) -> Report: ...

    def sampling(self) -> str:
        """One line that states the sampling, e.g. "1 of 10007 cache misses"."""

    def counters(self) -> dict[str, int]:
        """Kernel-named counters: what was recorded, what was lost."""

    def tracker_bytes(self) -> int:
        """Bytes of memory that the source itself takes."""
