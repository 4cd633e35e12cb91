"""Memory samples of a CPU's PMU as sightings: what `ibs` and `pebs` share.

Every sample carries the thread, the virtual address, the CPU and where the data came from. Events are opened on all
CPUs, for all processes or for the cgroup. Samples of processes that are not tracked are counted and dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from pghot.arrays import U64
from pghot.kernel import perf_event
from pghot.kernel.node_files import node_of_cpu
from pghot.kernel.perf_event import EventSpec, Ring, open_on_all_cpus
from pghot.kernel.perf_records import ADDR, CPU, DATA_SRC, PID, Samples, words_of
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import Watched
from pghot.live.sources.access_source import Sightings
from pghot.live.sources.perf_ring import drain
from pghot.mem_data_src import stores

Keep = Callable[[U64], npt.NDArray[np.bool_]]

SAMPLE = perf_event.SAMPLE_TID | perf_event.SAMPLE_ADDR | perf_event.SAMPLE_CPU | perf_event.SAMPLE_DATA_SRC
READ_FORMAT = perf_event.FORMAT_TOTAL_TIME_ENABLED | perf_event.FORMAT_TOTAL_TIME_RUNNING
# For each CPU. A sample takes 40 bytes, so 13,000 samples fit between two polls. At ten polls a second that is more
# than the kernel's limit of 100,000 samples a second (kernel.perf_event_max_sample_rate).
RING_BYTES = 1 << 19
_BATCH = 1 << 14
_USER_END = np.uint64(1 << 63)


class MemorySampling:
    """The rings of one or more events, and the counters of their samples.

    keep  tells from the data sources (uint64[K]) which samples count as accesses of memory
    """

    def __init__(self, root: SysRoot, keep: Keep) -> None:
        self._root, self._keep = root, keep
        self._rings: list[tuple[Ring, int]] = []  # with their full-effort period
        self._words = words_of(SAMPLE)
        self._samples = Samples.sized(_BATCH)
        self._node_of_cpu = node_of_cpu(root)
        self._pids = np.empty(0, np.int32)
        self._closed_idle_ns = 0  # of rings that are closed
        self._counts = dict.fromkeys(
            ("hwhint_total_events", "hwhint_useful_events", "hwhint_dropped_events", "perf_throttled",
             "perf_corrupt_records", "perf_not_running_ms"), 0
        )  # fmt: skip

    def open(
        self, spec: EventSpec, watched: Watched, cpus: Sequence[int], leader: EventSpec | None = None
    ) -> None:
        """Start an event on `cpus`. Raises `PghotError`, which says what the kernel refused."""
        rings = open_on_all_cpus(self._root, spec, RING_BYTES, watched.cgroup, cpus, leader=leader)
        self._rings += [(ring, spec.sample_period) for ring in rings]

    def watch(self, watched: Watched) -> None:
        self._pids = np.array(watched.pids, np.int32)
        self._counts["perf_not_running_ms"] = (self._closed_idle_ns + self._idle_ns()) // 1_000_000

    def _idle_ns(self) -> int:
        return sum(ring.idle_ns() for ring, _ in self._rings)

    def poll(self) -> list[Sightings]:
        found = []
        for ring, _ in self._rings:
            for count in drain(ring, self._words, self._samples, self._counts):
                self._counts["hwhint_total_events"] += count
                sightings = self.sightings(self._samples.fields[:, :count])
                if len(sightings):
                    found.append(sightings)
        return found

    def sightings(self, fields: U64) -> Sightings:
        """Sightings from decoded samples (rows as in `Samples.fields`): accesses of memory by tracked processes."""
        pid, address, data_src = fields[PID].astype(np.int32), fields[ADDR], fields[DATA_SRC]
        useful = (address != 0) & (address < _USER_END) & self._keep(data_src) & np.isin(pid, self._pids)
        self._counts["hwhint_useful_events"] += int(useful.sum())
        return Sightings(
            pid[useful],
            address[useful],
            np.ones(int(useful.sum()), np.uint32),
            self._node_of_cpu[fields[CPU, useful].astype(np.int64)],
            stores(data_src[useful]),
        )

    def set_effort(self, share: float, multiple: int = 1) -> None:
        """Lengthen the periods to suit `share`, rounded up to multiples of `multiple`."""
        for ring, period in self._rings:
            ring.set_period(stretched(period, share, multiple))

    def counters(self) -> dict[str, int]:
        return dict(self._counts)

    def close(self) -> None:
        """Close all events; their counts stay."""
        with suppress(OSError):  # the PMU went away
            self._closed_idle_ns += self._idle_ns()
        for ring, _ in self._rings:
            ring.close()
        self._rings = []


def stretched(period: int, share: float, multiple: int = 1) -> int:
    """The period that takes `share` of the samples, rounded up to a multiple of `multiple`.

    >>> stretched(10_000, 0.3, 16)
    33344
    """
    return -(-round(period / share) // multiple) * multiple
