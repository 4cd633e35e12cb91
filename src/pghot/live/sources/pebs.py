"""Intel's precise event-based sampling as a live source (arch/x86/events/intel/ds.c, PMU `cpu` or `cpu_core`).

It uses two events that the kernel describes in sysfs: `mem-loads`, loads slower than a threshold, and `mem-stores`. A
load is a sighting when its data came from memory, a store when it missed the L1: the hardware tells no more about
stores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pghot.engine.accesses import Mechanism, Sees
from pghot.kernel.needs import Need, require
from pghot.kernel.perf_event import EventSpec, perf_need
from pghot.kernel.pmu import Pmu, read_pmu
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import SetKnob, Watched
from pghot.live.sources.access_source import Sightings
from pghot.live.sources.perf_sampling import READ_FORMAT, SAMPLE, MemorySampling, stretched
from pghot.mem_data_src import memory_hits, stores_that_missed_l1
from pghot.parameters import check_number

# One PMU on most CPUs, one for each kind of core on hybrid ones.
NAMES = ("cpu", "cpu_core", "cpu_atom")
_ADDRESSES = 2  # samples carry data addresses from this precise_ip on


class Pebs:
    """The options.

    period_loads, period_stores  one in this many is sampled. The defaults are primes, so that they do not fall into
                                 step with loops. The event counts all stores, including those that hit the L1, so
                                 the period of stores is longer
    latency_cycles               loads that took longer are counted; the default is above an L3 hit and below memory
    """

    name = "pebs"
    summary = "Intel precise sampling: slow loads and stores that missed; CAP_PERFMON"
    mechanism: Mechanism = "hardware"
    inline = True
    released = True
    weight = 1
    sees: Sees = "any"
    sees_hugetlb = True
    only_reads = True
    period_option = "period_loads"

    def __init__(
        self,
        root: SysRoot,
        period_loads: int = 10_007,
        period_stores: int = 100_003,
        latency_cycles: int = 128,
    ) -> None:
        self._root = root
        check_number(self.name, "period_loads", period_loads, 1)
        check_number(self.name, "period_stores", period_stores, 1)
        self._periods = (period_loads, period_stores)
        self._latency = latency_cycles
        self._pmus = [pmu for name in NAMES if (pmu := read_pmu(root, name)) and "mem-loads" in pmu.events]
        self._effort = 1.0
        self._sampling = MemorySampling(root, keep)

    def needs(self) -> list[Need]:
        precise = [self._precise_need()] if self._pmus else []
        return [self._pmu_need(), *precise, perf_need(self._root)]

    def _pmu_need(self) -> Need:
        what = "Intel precise sampling of loads: event mem-loads"
        if self._pmus:
            return Need(what)
        return Need(what, "unsupported", "no PMU with the event mem-loads",
                    "an Intel CPU whose hypervisor, if any, passes PEBS on")  # fmt: skip

    def _precise_need(self) -> Need:
        what = "data addresses in samples"
        low = [pmu.name for pmu in self._pmus if precise_of(pmu) < _ADDRESSES]
        if not low:
            return Need(what)
        return Need(what, "unsupported", f"{low[0]} samples without data addresses (caps/max_precise)",
                    "a CPU whose hypervisor, if any, passes PEBS on")  # fmt: skip

    def start(self, watched: Watched, set_knob: SetKnob) -> None:
        require(self.name, self.needs())
        self.reopen(watched)
        self._sampling.watch(watched)

    def reopen(self, watched: Watched) -> None:
        self._sampling.close()
        loads, all_stores = self._periods
        for pmu in self._pmus:
            self._sampling.open(load_event(pmu, loads, self._latency), watched, pmu.cpus, leader_of(pmu))
            if "mem-stores" in pmu.events:
                self._sampling.open(named_event(pmu, "mem-stores", all_stores), watched, pmu.cpus)

    def watch(self, watched: Watched) -> None:
        self._sampling.watch(watched)

    def poll(self, now_ms: int) -> Sequence[Sightings]:
        return self._sampling.poll()

    def set_effort(self, share: float) -> None:
        self._effort = share
        self._sampling.set_effort(share)

    def sampling(self) -> str:
        loads, all_stores = (stretched(period, self._effort) for period in self._periods)
        return f"PEBS: one in {loads} loads over {self._latency} cycles, one in {all_stores} stores"

    def counters(self) -> dict[str, int]:
        return self._sampling.counters()

    def stop(self) -> None:
        self._sampling.close()


def keep(data_src: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Loads from memory, and stores that missed the L1."""
    return memory_hits(data_src) | stores_that_missed_l1(data_src)


def precise_of(pmu: Pmu) -> int:
    """The PMU's precision, 0 (none) to 3. Linux before 4.14 does not say: then 2, which all PMUs with PEBS have."""
    return min(int(pmu.caps.get("max_precise", "2") or 0), 3)


def named_event(pmu: Pmu, name: str, period: int, **terms: int) -> EventSpec:
    """An event from the PMU's own list, with these terms changed."""
    config = pmu.config({**pmu.events[name], **terms})
    return EventSpec(pmu.type, sample_type=SAMPLE, sample_period=period, precise_ip=precise_of(pmu),
                     flags=("exclude_kernel", "exclude_hv"), read_format=READ_FORMAT, **config)  # fmt: skip


def load_event(pmu: Pmu, period: int, latency_cycles: int) -> EventSpec:
    """Loads that took longer than `latency_cycles`."""
    return named_event(pmu, "mem-loads", period, ldlat=latency_cycles)


def leader_of(pmu: Pmu) -> EventSpec | None:
    """The event that must lead the group of mem-loads (Alder Lake, Sapphire Rapids); None elsewhere.

    The kernel lists mem-loads-aux where it is needed, and there refuses mem-loads alone (ENODATA).
    """
    if "mem-loads-aux" not in pmu.events:
        return None
    config = pmu.config(pmu.events["mem-loads-aux"])
    return EventSpec(
        pmu.type, sample_type=0, sample_period=0, flags=("exclude_kernel", "exclude_hv"), **config
    )
