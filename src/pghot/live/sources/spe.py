"""Arm's Statistical Profiling Extension as a live source (drivers/perf/arm_spe_pmu.c, PMUs `arm_spe_0`, ...).

The CPU samples one operation in `period_ops` and writes a record of it straight into memory. pghot asks for loads and
stores slower than `latency_cycles`, with physical addresses, because records do not name the process. Those that went
past the last-level cache are sightings.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from pghot.arrays import U64
from pghot.engine.accesses import Mechanism, Sees
from pghot.kernel import spe_packets
from pghot.kernel.cpus import midr
from pghot.kernel.needs import Need, require
from pghot.kernel.node_files import node_of_cpu
from pghot.kernel.perf_event import EventSpec, Ring, open_on_all_cpus, perf_need
from pghot.kernel.pmu import Pmu, pmu_names, read_pmu
from pghot.kernel.rmap import frames_need
from pghot.kernel.spe_packets import EVENTS, HAS, OPERATION, PHYS_ADDR, SOURCE, Records
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import SetKnob, Watched
from pghot.live.sources.access_source import Sightings
from pghot.live.sources.aux_area import AUX_COUNTERS, RING_BYTES, AuxNotes, drain_aux
from pghot.live.sources.frame_owners import FrameOwners
from pghot.live.sources.perf_sampling import READ_FORMAT, stretched
from pghot.parameters import check_number
from pghot.units import PAGE_BYTES

PREFIX = "arm_spe_"
AUX_BYTES = 1 << 20  # for each CPU: about 16,000 records of 64 bytes between two polls
_BATCH = 1 << 14

# The encoding of a Data Source packet is up to the CPU's maker. These CPUs are known to share one: Neoverse N1, V1,
# N2, V2 (part numbers of implementer 0x41; their technical reference manuals).
_ARM = 0x41
_NEOVERSE = (0xD0C, 0xD40, 0xD49, 0xD4F)
_FROM_REMOTE, _FROM_DRAM = 0xD, 0xE


class Spe:
    """Options: period_ops  one operation in this many is sampled; latency_cycles  faster operations are left out."""

    name = "spe"
    summary = "Arm statistical profiling: loads and stores that missed the last-level cache; root"
    mechanism: Mechanism = "hardware"
    inline = True
    released = True
    weight = 1
    sees: Sees = "any"
    sees_hugetlb = True
    only_reads = True

    def __init__(self, root: SysRoot, period_ops: int = 10_000, latency_cycles: int = 128) -> None:
        self._root = root
        check_number(self.name, "period_ops", period_ops, 1)
        self._period, self._latency, self._effort = period_ops, latency_cycles, 1.0
        self._pmus = [pmu for name in pmu_names(root, PREFIX) if (pmu := read_pmu(root, name))]
        self._closed_idle_ns = 0  # of rings that are closed
        self._rings: list[tuple[Ring, int, bool]] = []  # with the CPU's node, and whether it is a Neoverse
        self._notes, self._records = AuxNotes(), Records.sized(_BATCH)
        self._owners = FrameOwners(root)
        self._counts = dict.fromkeys(AUX_COUNTERS, 0)

    def needs(self) -> list[Need]:
        return [self._pmu_need(), perf_need(self._root), frames_need(self._root)]

    def _pmu_need(self) -> Need:
        what = f"Arm statistical profiling: PMU {PREFIX}0"
        if self._pmus:
            return Need(what)
        return Need(what, "unsupported", f"no PMU {PREFIX}0",
                    "an Arm CPU with FEAT_SPE, arm_spe_pmu loaded, and kpti=off where the kernel log asks for it"
                    )  # fmt: skip

    def start(self, watched: Watched, set_knob: SetKnob) -> None:
        require(self.name, self.needs())
        self.reopen(watched)
        self.watch(watched)

    def reopen(self, watched: Watched) -> None:
        self._close()
        nodes = node_of_cpu(self._root)
        for pmu in self._pmus:
            spec = event(pmu, self._period, self._latency)
            rings = open_on_all_cpus(self._root, spec, RING_BYTES, watched.cgroup, pmu.cpus, AUX_BYTES)
            self._rings += [
                (ring, int(nodes[cpu]), is_neoverse(self._root, cpu))
                for ring, cpu in zip(rings, pmu.cpus, strict=True)
            ]

    def watch(self, watched: Watched) -> None:
        self._owners.watch(watched)
        self._counts["perf_not_running_ms"] = (self._closed_idle_ns + self._idle_ns()) // 1_000_000

    def _idle_ns(self) -> int:
        return sum(ring.idle_ns() for ring, _, _ in self._rings)

    def poll(self, now_ms: int) -> Sequence[Sightings]:
        from pghot.kernel.spe_decode import decode_records

        found = []
        for ring, node, neoverse in self._rings:
            # The kernel says how far the hardware has written only when the event stops or half the area is full.
            ring.disable()
            ring.enable()
            self._notes.take(ring, self._counts)
            rows = spe_packets.TAIL, spe_packets.CORRUPT
            found += [
                self.sightings(self._records.fields[:, :count], node, neoverse, now_ms)
                for count in drain_aux(ring, decode_records, self._records, *rows, self._counts)
            ]
        return [sightings for sightings in found if len(sightings)]

    def sightings(self, fields: U64, node: int, neoverse: bool, now_ms: int) -> Sightings:
        """Sightings from one CPU's decoded records (rows as in `Records.fields`): accesses by tracked programs."""
        self._counts["hwhint_total_events"] += fields.shape[1]
        kept = np.flatnonzero(from_memory(fields, neoverse))
        physical = fields[PHYS_ADDR, kept]
        pid, page, index = self._owners.find(physical // np.uint64(PAGE_BYTES), now_ms)
        self._counts["hwhint_useful_events"] += len(index)
        store = fields[OPERATION, kept[index]] & np.uint64(spe_packets.OPERATION_IS_STORE) != 0
        return Sightings(
            pid,
            page + physical[index] % np.uint64(PAGE_BYTES),
            np.ones(len(index), np.uint32),
            np.full(len(index), node, np.int16),
            np.asarray(store, np.bool_),
        )

    def set_effort(self, share: float) -> None:
        self._effort = share
        for ring, _, _ in self._rings:
            ring.set_period(stretched(self._period, share))

    def sampling(self) -> str:
        period = stretched(self._period, self._effort)
        return f"SPE: one in {period} operations, loads and stores over {self._latency} cycles"

    def counters(self) -> dict[str, int]:
        return dict(self._counts)

    def stop(self) -> None:
        self._close()

    def _close(self) -> None:
        with suppress(OSError):  # the PMU went away
            self._closed_idle_ns += self._idle_ns()
        for ring, _, _ in self._rings:
            ring.close()
        self._rings = []


def event(pmu: Pmu, period: int, latency_cycles: int) -> EventSpec:
    """Loads and stores with physical addresses, sampled at periods that vary a little."""
    terms = {"pa_enable": 1, "load_filter": 1, "store_filter": 1, "jitter": 1, "min_latency": latency_cycles}
    return EventSpec(pmu.type, sample_type=0, sample_period=period, flags=("exclude_kernel",),
                     read_format=READ_FORMAT, **pmu.config(terms))  # fmt: skip


def from_memory(fields: U64, neoverse: bool) -> npt.NDArray[np.bool_]:
    """Which records have a physical address and are of accesses past the last-level cache, or to another socket."""
    physical = fields[HAS] & np.uint64(1 << PHYS_ADDR) != 0
    missed = fields[EVENTS] & np.uint64(spe_packets.EVENT_LLC_MISS | spe_packets.EVENT_REMOTE_ACCESS) != 0
    if neoverse:
        missed |= (fields[SOURCE] == _FROM_REMOTE) | (fields[SOURCE] == _FROM_DRAM)
    return np.asarray(physical & missed, np.bool_)


def is_neoverse(root: SysRoot, cpu: int) -> bool:
    """Whether pghot understands the CPU's Data Source packets."""
    number = midr(root, cpu)
    return number >> 24 & 0xFF == _ARM and number >> 4 & 0xFFF in _NEOVERSE
