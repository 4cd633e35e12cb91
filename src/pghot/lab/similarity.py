"""What a recording stands for: a real system with its footprint, its threads and its time.

One page of a recording stands for K real pages that behave alike, and one of its misses for K misses of T threads. The
kernel's mechanisms run at their nominal constants, in real milliseconds, bytes and MB/s. K is the only scale, and what
the lab says does not depend on it (docs/model.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from pghot.errors import UsageError
from pghot.recording.trace import TraceInfo
from pghot.sim.machine.topology import Topology
from pghot.units import format_number, format_size

MOST_PAGES = 1e6  # K: a recording of 100 MB stands for 100 TB then
FAR = (
    2.0  # a recorded cache that stands for so many times the real one is worth a warning, or for so much less
)


@dataclass(frozen=True, slots=True)
class Similarity:
    """A recording and the real system that it stands for.

    group_pages      K, real pages that one recorded page stands for, at least 1
    footprint_bytes  F, of the real system
    threads          T, of the real system
    cpu_nodes        nodes that they run on
    cache_bytes      last-level cache that the recorded cache stands for; 0: the recording knows of none
    llc_bytes        last-level cache of the real system; 0: its tiers file does not say
    measured         the recording is of a live system: its misses are estimates
    """

    group_pages: float
    footprint_bytes: float
    threads: int
    cpu_nodes: int
    cache_bytes: float
    llc_bytes: int
    measured: bool

    def warning(self) -> str:
        """That the cache is another than the real system's; empty if it is like it, or not known."""
        if not (self.cache_bytes and self.llc_bytes):
            return ""
        ratio = self.cache_bytes / self.llc_bytes
        if 1 / FAR <= ratio <= FAR:
            return ""
        more = "more" if ratio > 1 else "fewer"  # a larger share of cache than the real program's misses less
        return (
            f"the recorded cache stands for {format_size(self.cache_bytes)}, the tiers have "
            f"{format_size(self.llc_bytes)}: the real program misses {more} lines than this replay"
        )


def similarity(
    info: TraceInfo,
    topology: Topology,
    footprint_pages: int,
    stands_for: float | None = None,
    times: float | None = None,
    threads: int | None = None,
    replayed_pages: int | None = None,
) -> Similarity:
    """What a recording of `footprint_pages` stands for.

    stands_for  F, bytes
    times       K itself
    threads     T; None: the CPUs of the nodes that the recording ran on, or those that were measured
    replayed_pages  of them, those of the sample that is replayed: each stands for so many more; None: all

    Without F and K, the recorded cache stands for the real system's. A recording that knows of no cache, and a live
    one, stand for themselves. Raises `UsageError` for a system that is smaller than what was recorded.
    """
    recorded = footprint_pages * info.page_bytes
    llc = topology.llc_bytes or 0
    if times is not None:
        group = times
    elif stands_for is not None:
        group = stands_for / recorded
        if group < 1:
            raise UsageError(
                f"'{info.name}' touches {format_size(recorded)}: it cannot stand for {format_size(stands_for)}",
                "give --stands-for a larger size",
            )
    else:
        group = 1.0 if info.measured or not info.llc_bytes else max(1.0, llc / info.llc_bytes)
    if not 1 <= group <= MOST_PAGES:
        raise UsageError(
            f"a recorded page cannot stand for {format_number(group, 4)} pages (--stands-for)",
            f"give 1x to {format_number(MOST_PAGES)}x",
        )
    chosen = threads or (info.threads if info.measured else sum(cpus_of(topology, info.nodes)))
    one_in = footprint_pages / replayed_pages if replayed_pages else 1.0
    return Similarity(
        group * one_in, recorded * group, chosen, info.nodes, info.llc_bytes * group, llc, info.measured
    )


def cpus_of(topology: Topology, nodes: int) -> list[int]:
    """The CPUs of the first `nodes` nodes that have any: those that a recording of so many nodes runs on."""
    return [topology.nodes[number].cpus for number in topology.with_cpus()[:nodes]]
