"""Major faults as a live source: pages that come back from swap because their program touched them (mm/memory.c).

A swapped-out page is seen only when it faults, and then it is too late to fetch it early. But pages that were swapped
out together mostly come back together. So a fault stands for the pages around it too, which can then be fetched before
they are touched. This source does not know which of them really are in swap; the code that takes its sightings finds
that out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pghot.arrays import I32, U64
from pghot.engine.accesses import Mechanism, Sees
from pghot.errors import UsageError
from pghot.kernel import perf_event
from pghot.kernel.needs import Need, require
from pghot.kernel.perf_event import EventSpec, Ring, open_on_all_cpus, perf_need
from pghot.kernel.perf_records import ADDR, PID, Samples, words_of
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import SetKnob, Watched
from pghot.live.sources.access_source import Sightings, sightings_of
from pghot.live.sources.perf_ring import drain
from pghot.units import PAGE_BYTES

SAMPLE = perf_event.SAMPLE_TID | perf_event.SAMPLE_ADDR
_RING_BYTES = 1 << 18  # for each CPU: 8,000 faults between two polls
_BATCH = 1 << 14
_MOST_AROUND_KIB = 2048
# A page beside a fault counts as seen twice: pghot's own threshold for a hot page (pghot_freq_threshold).
AROUND_COUNT = 2


class SwapIns:
    """Options: around_kib  the size of the aligned block of addresses that one fault stands for."""

    name = "swapins"
    summary = "major faults: pages that come back from swap, and those around them; CAP_PERFMON"
    mechanism: Mechanism = None
    inline = True
    released = True
    weight = 1
    sees: Sees = "lower"
    only_reads = True

    def __init__(self, root: SysRoot, around_kib: int = 64) -> None:
        if not 4 <= around_kib <= _MOST_AROUND_KIB or around_kib & (around_kib - 1):
            raise UsageError(
                f"swapins: around_kib {around_kib} is not a possible block size",
                "give a power of two from 4 to 2048",
            )
        self._root = root
        self._around = around_kib * 1024 // PAGE_BYTES
        self._rings: list[Ring] = []
        self._pids: I32 = np.empty(0, np.int32)
        self._words = words_of(SAMPLE)
        self._samples = Samples.sized(_BATCH)
        self._counts = dict.fromkeys(("swapins_faults", "hwhint_dropped_events", "perf_corrupt_records"), 0)

    def needs(self) -> list[Need]:
        return [perf_need(self._root)]

    def start(self, watched: Watched, set_knob: SetKnob) -> None:
        require(self.name, self.needs())
        self.watch(watched)
        self.reopen(watched)

    def reopen(self, watched: Watched) -> None:
        self.stop()
        spec = EventSpec(perf_event.TYPE_SOFTWARE, perf_event.SW_PAGE_FAULTS_MAJ, SAMPLE)
        self._rings = open_on_all_cpus(self._root, spec, _RING_BYTES, watched.cgroup)

    def watch(self, watched: Watched) -> None:
        """The events cover all processes, or the cgroup; those of processes that are not tracked are left out."""
        self._pids = np.array(watched.pids, np.int32)

    def poll(self, now_ms: int) -> Sequence[Sightings]:
        return [
            sightings
            for ring in self._rings
            for count in drain(ring, self._words, self._samples, self._counts)
            for sightings in self._sightings(count)
        ]

    def _sightings(self, count: int) -> list[Sightings]:
        fields = self._samples.fields
        pid = fields[PID, :count].astype(np.int32)
        ours = np.isin(pid, self._pids)
        if not ours.any():
            return []
        self._counts["swapins_faults"] += int(np.count_nonzero(ours))
        pid, address = blocks_of(pid[ours], fields[ADDR, :count][ours], self._around)
        return [sightings_of(pid, address, np.full(len(pid), AROUND_COUNT, np.uint32))]

    def set_effort(self, share: float) -> None:
        """Does nothing: every major fault is seen. A fault costs the program much more than its record costs us."""

    def sampling(self) -> str:
        return f"every major fault, for {self._around * PAGE_BYTES // 1024} KiB around it"

    def counters(self) -> dict[str, int]:
        return dict(self._counts)

    def stop(self) -> None:
        for ring in self._rings:
            ring.close()
        self._rings = []


def blocks_of(pid: I32, address: U64, around: int) -> tuple[I32, U64]:
    """All pages of the aligned blocks of `around` pages that hold these addresses, each once.

    Returns their processes (int32[M]) and addresses (uint64[M], bytes).

    pid      int32[K]
    address  uint64[K]  bytes

    >>> blocks_of(np.array([7, 7], np.int32), np.array([4096, 8200], np.uint64), 4)[1].tolist()
    [0, 4096, 8192, 12288]
    """
    block = np.uint64(around * PAGE_BYTES)
    pairs = np.unique(np.stack((pid.astype(np.uint64), address // block)), axis=1)
    offset = np.arange(around, dtype=np.uint64) * np.uint64(PAGE_BYTES)
    pages: U64 = (pairs[1][:, None] * block + offset).ravel()
    return np.repeat(pairs[0].astype(np.int32), around), pages
