"""AMD's instruction-based sampling as a live source (arch/x86/events/amd/ibs.c, PMU `ibs_op`).

The hardware tags one op in `period_ops`. A tagged load or store that went to memory is a sighting. From Zen 4 on, the
hardware itself can skip ops that did not miss the L3 (`l3missonly`). Without that filter every tagged op raises an
interrupt, and pghot checks the sample's data source afterwards. AMD reports no data source for stores, so stores count
only with `l3missonly`.
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
from pghot.mem_data_src import memory_hits, unknown_levels
from pghot.parameters import check_number

NAME = "ibs_op"
PERIOD_STEP = 16  # the hardware's counter lacks the low four bits
# Each tagged op costs an interrupt of 1..4 us (FACTS section 8): one op in 10,000 would take a third of a CPU.
UNFILTERED_STRETCH = 10


class Ibs:
    """Options: period_ops  one op in this many is sampled; ten times as many where the CPU cannot skip L3 hits."""

    name = "ibs"
    summary = "AMD instruction-based sampling: loads and stores that went to memory; CAP_PERFMON"
    mechanism: Mechanism = "hardware"
    inline = True
    released = True
    weight = 1
    sees: Sees = "any"
    sees_hugetlb = True
    only_reads = True

    def __init__(self, root: SysRoot, period_ops: int = 10_000) -> None:
        self._root = root
        pmu = read_pmu(root, NAME)
        self._pmus = [pmu] if pmu else []
        self._filtered = any("l3missonly" in pmu.formats for pmu in self._pmus)
        check_number(self.name, "period_ops", period_ops, 1)
        self._period = stretched(period_ops, 1 if self._filtered else 1 / UNFILTERED_STRETCH, PERIOD_STEP)
        self._effort = 1.0
        self._sampling = MemorySampling(root, self._keep)

    def needs(self) -> list[Need]:
        return [self._pmu_need(), self._kernel_need(), perf_need(self._root)]

    def _pmu_need(self) -> Need:
        what = f"AMD instruction-based sampling: PMU {NAME}"
        if self._pmus:
            return Need(what)
        return Need(
            what, "unsupported", f"no PMU {NAME}", "an AMD CPU whose hypervisor, if any, passes IBS on"
        )

    def _kernel_need(self) -> Need:
        what = "data sources in IBS samples: Linux 6.1"
        release = self._root.release()
        if release >= (6, 1):
            return Need(what)
        return Need(what, "unsupported", f"Linux {release[0]}.{release[1]} has none", "Linux 6.1 or later")

    def start(self, watched: Watched, set_knob: SetKnob) -> None:
        require(self.name, self.needs())
        self.reopen(watched)
        self._sampling.watch(watched)

    def reopen(self, watched: Watched) -> None:
        self._sampling.close()
        for pmu in self._pmus:
            self._sampling.open(event(pmu, self._period), watched, pmu.cpus)

    def watch(self, watched: Watched) -> None:
        self._sampling.watch(watched)

    def poll(self, now_ms: int) -> Sequence[Sightings]:
        return self._sampling.poll()

    def _keep(self, data_src: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        kept = memory_hits(data_src)
        return kept | unknown_levels(data_src) if self._filtered else kept

    def set_effort(self, share: float) -> None:
        self._effort = share
        self._sampling.set_effort(share, PERIOD_STEP)

    def sampling(self) -> str:
        period = stretched(self._period, self._effort, PERIOD_STEP)
        how = "that missed the L3" if self._filtered else "of any kind, loads from memory kept"
        return f"IBS: one op in {period}, {how}"

    def counters(self) -> dict[str, int]:
        return self._sampling.counters()

    def stop(self) -> None:
        self._sampling.close()


def event(pmu: Pmu, period: int) -> EventSpec:
    """The event, with those filters of later CPUs and kernels that the PMU has."""
    terms = {"cnt_ctl": 1}  # count ops, not cycles
    if "l3missonly" in pmu.formats:  # Zen 4, Linux 6.0
        terms["l3missonly"] = 1
    flags: tuple[str, ...] = ()
    if (
        "swfilt" in pmu.formats
    ):  # Linux 6.15: the kernel leaves out its own accesses before they fill the ring
        terms["swfilt"] = 1
        flags = ("exclude_kernel", "exclude_hv")
    return EventSpec(pmu.type, sample_type=SAMPLE, sample_period=period, flags=flags, read_format=READ_FORMAT,
                     **pmu.config(terms))  # fmt: skip
