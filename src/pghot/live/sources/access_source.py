"""The seam of the live sources: who saw which process access which address.

A source is one file of this package. It reports in batches, never one access per Python call. It states its sampling
and counts what it lost. It checks its needs before it changes anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pghot.arrays import I16, I32, U32, U64
from pghot.engine.accesses import Source
from pghot.kernel.needs import Need
from pghot.kernel.watched import SetKnob, Watched


@dataclass(frozen=True, slots=True)
class Sightings:
    """Accesses that one source saw since it was last polled.

    pid      int32[K]   process (thread group) that made the access; it need not be tracked: sightings of
                        other processes are counted as such when the addresses are looked up
    address  uint64[K]  virtual address, bytes; need not be page aligned
    count    uint32[K]  accesses (or samples, or scans that found the page touched) behind this sighting
    node     int16[K]   node of the accessing CPU, -1 where the source cannot know it
    write    bool[K]    known to be stores
    hint_fault          these are NUMA hint faults
    """

    pid: I32
    address: U64
    count: U32
    node: I16
    write: npt.NDArray[np.bool_]
    hint_fault: bool = False

    def __len__(self) -> int:
        return len(self.pid)


def sightings_of(
    pid: int | I32, address: U64, count: U32 | None = None, node: int | I16 = -1, write: bool = False
) -> Sightings:
    """Sightings from the columns that a source has. The others get one value for all rows.

    >>> len(sightings_of(1234, np.array([4096, 8192], np.uint64)))
    2
    """
    length = len(address)
    return Sightings(
        np.full(length, pid, np.int32) if isinstance(pid, int) else pid,
        address,
        np.ones(length, np.uint32) if count is None else count,
        np.full(length, node, np.int16) if isinstance(node, int) else node,
        np.full(length, write, np.bool_),
    )


class AccessSource(Source, Protocol):
    """A live source of page accesses. Its name is that of its simulated twin, where there is one.

    weight   how much one of its reports counts when sources are fused; a positive whole number
    only_reads  it sets no knob, clears no bit, and disturbs nobody who watches the same: two may run at once
    """

    weight: int
    only_reads: bool

    def needs(self) -> list[Need]:
        """Every condition, met or not. Changes nothing."""

    def start(self, watched: Watched, set_knob: SetKnob) -> None:
        """Start watching. Knobs are changed through `set_knob` only, so that they are put back.

        Raises `PghotError` when something it needs is missing or in use by another program.
        """

    def watch(self, watched: Watched) -> None:
        """Processes or their mappings changed; `watched` is the full new picture."""

    def poll(self, now_ms: int) -> Sequence[Sightings]:
        """What was seen since the last poll. Does not block. `now_ms` is CLOCK_MONOTONIC in milliseconds."""

    def set_effort(self, share: float) -> None:
        """Sample at `share` of the full rate, 0 < share <= 1, to stay within the overhead budget."""

    def sampling(self) -> str:
        """One line that states the sampling in force, e.g. "hint faults of 256 MiB every 100 ms"."""

    def counters(self) -> dict[str, int]:
        """Counters as declared in `pghot.counters`, including losses."""

    def stop(self) -> None:
        """Stop watching and release all resources. Called once, also after a failed start."""


@runtime_checkable
class Degrades(Protocol):
    """What a source must have as well if it can notice that it does not see what it should."""

    def degraded(self) -> Sequence[str]:
        """Each as one line: what is wrong; what to do. Empty when all is well. The same words while it lasts.

        Asked about once a second, so it must not read much.
        """


@runtime_checkable
class SeesHugetlb(Protocol):
    """What a source must have as well if it can see hugetlb pages. The kernel passes their mappings over where it arms
    hint faults (task_numa_work), clears soft-dirty bits (clear_refs) and ages pages (they are on no LRU list)."""

    sees_hugetlb: bool


@runtime_checkable
class HangsOnCgroup(Protocol):
    """What a source must have as well if it opens something on `Watched.cgroup` itself, such as perf events."""

    def reopen(self, watched: Watched) -> None:
        """The cgroup was removed and made again under its name, as systemd does with the cgroup of a service that it
        restarts: close what hangs on the old one and open it on the new one, at full effort. Counters go on.

        Raises as `start`; `UsageError` when the cgroup is gone again. It is called again then, when there is another.
        """
