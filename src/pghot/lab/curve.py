"""How much fast memory a program needs, at a glance: one pass over a recording, all sizes of the fast tier at once.

Three ways to fill the fast tier are compared, of which none moves a page at a price:

* first touch: pages stay where they were placed, as without any tiering;
* hottest: the pages that miss most in the whole recording are fast, from the start;
* recency: an exact LRU cache of pages, which moves at once and for nothing.

For each size: the share of the last-level cache misses that the fast tier does not serve, which is exact, and the time
over that with all memory fast, which the memory model of the lab (docs/model.md, section 3) predicts for slices of the
recording with nothing else going on. Policies cost something and know less: `pghot compare` simulates them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pghot.errors import UsageError
from pghot.lab.curve_pass import Filling, play_pass
from pghot.lab.epochs import measure_epochs
from pghot.lab.evidence import lacking, refuse
from pghot.lab.parallelism import misses_in_flight
from pghot.lab.recorded_cache import seen_by_the_real_cache
from pghot.lab.setting import Setting
from pghot.lab.similarity import Similarity, similarity
from pghot.lab.traces import load_trace, trace_warnings
from pghot.recording.trace import Trace
from pghot.sim.machine.slice_timing import SliceTiming
from pghot.sim.machine.topology import Topology, load_topology

SCHEMA = "pghot.curve/1"
WAYS = ("first touch", "hottest", "recency")


@dataclass(frozen=True, slots=True)
class Point:
    """One way to fill a fast tier of one size.

    fast_share       share of the footprint that the fast tier holds
    fast_bytes       the same in the real system
    slow_miss_share  share of the misses that the fast tier does not serve
    slowdown         predicted time over that with all memory fast
    """

    way: str
    fast_share: float
    fast_bytes: float
    slow_miss_share: float
    slowdown: float


@dataclass(frozen=True, slots=True)
class Curve:
    """What `curve` returns: `points` by way, then by size.

    slow_slowdown  predicted time with no fast memory at all, over that with all memory fast
    """

    trace: str
    tiers: str
    similarity: Similarity
    misses: float
    slow_slowdown: float
    points: Sequence[Point]
    warnings: Sequence[str]

    def of(self, way: str) -> list[Point]:
        """The points of one of `WAYS`, by size."""
        return [point for point in self.points if point.way == way]

    def enough(self, way: str, slowdown: float) -> float | None:
        """The fast bytes with which the time is at most `slowdown` times that with all memory fast.

        Read off the straight line between two points. None: more than the largest of the sizes.
        """
        before = (0.0, self.slow_slowdown)
        for point in self.of(way):
            size, time = before
            if point.slowdown <= slowdown:
                part = (time - slowdown) / (time - point.slowdown) if time > slowdown else 0.0
                return size + part * (point.fast_bytes - size)
            before = (point.fast_bytes, point.slowdown)
        return None

    def table(self) -> pa.Table:
        """The points as an Arrow table, one row for each."""
        return pa.Table.from_pylist([asdict(point) for point in self.points])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values."""
        return {
            "schema": SCHEMA,
            "predicted": True,
            "trace": self.trace,
            "tiers": self.tiers,
            "similarity": asdict(self.similarity),
            "misses": self.misses,
            "slow_slowdown": self.slow_slowdown,
            "points": [asdict(point) for point in self.points],
            "warnings": list(self.warnings),
        }


def curve(
    recording: str | Path | Trace,
    tiers: str | Path | Topology = "dram-cxl",
    shares: Sequence[float] = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    setting: Setting | None = None,
    begins: Callable[[], None] | None = None,
) -> Curve:
    """Miss ratio and predicted slowdown for every share of the footprint in `shares`, from one pass.

    recording, tiers  as for `compare`
    setting           its fields that say what the recording stands for: `stands_for`, `times`, `threads`, `mlp` and
                      `page_bytes`
    begins            called when nothing was refused and the work begins

    Raises `UsageError` for tiers with a node that compresses, for a recording of several nodes, and for one with too
    little in it.
    """
    setting = setting or Setting()
    topology = tiers if isinstance(tiers, Topology) else load_topology(tiers)
    if topology.compression is not None:
        raise UsageError(
            "how much fits a node that compresses depends on what is in it", "see `pghot economics` for these"
        )
    trace = seen_by_the_real_cache(
        load_trace(recording, setting.first_seed, setting.page_bytes),
        topology.llc_bytes,
        setting.stands_for,
        setting.times,
    )
    if trace.info.nodes > 1:
        raise UsageError(
            f"'{trace.info.name}' has accesses from {trace.info.nodes} nodes: what is near for one is far for others",
            "use `pghot compare`",
        )
    if begins is not None:
        begins()
    table = measure_epochs(trace)
    similar = similarity(
        trace.info, topology, table.footprint_pages, setting.stands_for, setting.times, setting.threads
    )
    page_bytes = trace.info.page_bytes * similar.group_pages
    filling = Filling(topology, table.footprint_pages, page_bytes, shares)
    info, misses = trace.info, float(table.total.sum())
    refuse(
        f"how much fast memory '{info.name}' needs",
        lacking(
            table.footprint_pages * info.page_bytes,
            table.footprint_pages,
            info.llc_bytes,
            table.slices,
            misses,
        ),
    )
    in_flight = setting.mlp or misses_in_flight(trace, topology.costs)
    timing = SliceTiming(topology, similar.threads, crews=1, mean_ns=1.0)
    slow_misses, times_ns = play_pass(
        table, filling, in_flight, timing, topology.costs.instruction_ns / similar.threads
    )
    all_slow, all_fast = times_ns[0, 0], times_ns[0, -1]
    points = [
        Point(way, share, size, float(missed) / misses, float(ns / all_fast))
        for way, slow, times in zip(WAYS, slow_misses[:, 1:-1], times_ns[:, 1:-1], strict=True)
        for share, size, missed, ns in zip(shares, filling.fast_bytes, slow, times, strict=True)
    ]
    warnings = [*trace_warnings(trace), *topology.warnings(), *filter(None, [similar.warning()])]
    return Curve(
        trace=trace.info.name,
        tiers=topology.description,
        similarity=similar,
        misses=misses * similar.group_pages,
        slow_slowdown=float(all_slow / all_fast),
        points=points,
        warnings=warnings,
    )
