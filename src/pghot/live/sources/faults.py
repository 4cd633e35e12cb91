"""NUMA hint faults as a live source (kernel/sched/fair.c, mm/memory.c: do_numa_page).

The kernel's tiering mode (numa_balancing=2, Linux >= 5.18) marks pages below the top tier PROT_NONE, one part of the
address space after the other. The next access then faults. With numa_balancing_promote_rate_limit_MBps=0 (>= 6.1) the
kernel goes on taking these faults but promotes no page itself. A perf software event on minor faults reports the
address of each.

Other minor faults, such as first touches, are accesses too and are reported as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pghot.engine.accesses import Mechanism
from pghot.kernel import perf_event
from pghot.kernel.knob_files import NUMA_BALANCING, PROMOTE_RATE_LIMIT, SCAN, SCHED
from pghot.kernel.needs import Need, knob_need, require
from pghot.kernel.node_files import node_of_cpu
from pghot.kernel.perf_event import EventSpec, Ring, open_on_all_cpus, perf_need
from pghot.kernel.perf_records import ADDR, CPU, PID, Samples, words_of
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.toptier import kernel_top_nodes, nodes_with_memory
from pghot.kernel.watched import SetKnob, Watched
from pghot.live.sources.access_source import Sees, Sightings
from pghot.live.sources.perf_ring import drain
from pghot.parameters import check_number

MEMORY_TIERING = "2"

SAMPLE = perf_event.SAMPLE_TID | perf_event.SAMPLE_ADDR | perf_event.SAMPLE_CPU
_RING_BYTES = 1 << 20  # for each CPU: 26,000 faults between two polls
_BATCH = 1 << 16
_MOST_SCANNED_MB = 1 << 16
# Only root may write these files, and their handlers check the capability too (kernel/sched/core.c).
_RIGHTS = "as root with CAP_SYS_ADMIN: sudo pghot ..."


class Faults:
    """Options: scan_period_ms, scan_size_mb  how often the kernel marks pages, and how much of each program (MiB)."""

    name = "faults"
    summary = "NUMA hint faults of the kernel's tiering mode, seen by a perf event; root"
    mechanism: Mechanism = "hint fault"
    inline = True
    released = True
    weight = 1
    sees: Sees = "lower"

    def __init__(self, root: SysRoot, scan_period_ms: int = 200, scan_size_mb: int = 256) -> None:
        # The kernel divides by the size and does not check it (task_nr_scan_windows, kernel/sched/fair.c).
        check_number(self.name, "scan_size_mb", scan_size_mb, 1, _MOST_SCANNED_MB)
        check_number(self.name, "scan_period_ms", scan_period_ms, 1)
        self._root = root
        self._period_ms, self._size_mb, self._effort = scan_period_ms, scan_size_mb, 1.0
        self._rings: list[Ring] = []
        self._words = words_of(SAMPLE)
        self._samples = Samples.sized(_BATCH)
        self._node_of_cpu = np.zeros(0, np.int16)
        self._counts = dict.fromkeys(("numa_hint_faults", "hwhint_dropped_events", "perf_corrupt_records"), 0)
        self._set_knob: SetKnob = lambda path, value: None

    def needs(self) -> list[Need]:
        return [self._mode_need(), self._scan_need(), self._nodes_need(), perf_need(self._root)]

    def _mode_need(self) -> Need:
        what = f"hint faults of lower tiers: {NUMA_BALANCING} = 2"
        if self._root.exists(NUMA_BALANCING) and not self._root.exists(PROMOTE_RATE_LIMIT):
            return Need(
                what,
                "unsupported",
                "the kernel cannot keep mode 2 from promoting (no numa_balancing_promote_rate_limit_MBps)",
                "Linux 6.1 or later",
            )
        return knob_need(self._root, what, NUMA_BALANCING, "a kernel with CONFIG_NUMA_BALANCING", _RIGHTS)

    def _scan_need(self) -> Need:
        what = f"how often pages are marked: {SCAN}"
        if self._root.exists(SCHED):
            lacking = "a kernel with CONFIG_SCHED_DEBUG (before 6.15)"
            return knob_need(self._root, what, f"{SCAN}/scan_period_min_ms", lacking, _RIGHTS)
        return Need(
            what,
            "not permitted",
            "debugfs cannot be read",
            "as root: mount -t debugfs none /sys/kernel/debug",
        )

    def _nodes_need(self) -> Need:
        what = "memory below the top tier"
        nodes = nodes_with_memory(self._root)
        if set(nodes) - set(kernel_top_nodes(self._root)):
            return Need(what)
        if len(nodes) == 1:
            return Need(what, "unsupported", "this machine has one memory node", "pghot run --what-if TIERS")
        why = "the kernel puts all memory nodes into its top tier, so none of their pages get hint faults"
        return Need(what, "unsupported", why, "another source, or a kernel that forms tiers of its own")

    def start(self, watched: Watched, set_knob: SetKnob) -> None:
        require(self.name, self.needs())
        self._set_knob = set_knob
        self._node_of_cpu = node_of_cpu(self._root)
        spec = EventSpec(perf_event.TYPE_SOFTWARE, perf_event.SW_PAGE_FAULTS_MIN, SAMPLE)
        self._rings = open_on_all_cpus(self._root, spec, _RING_BYTES, watched.cgroup)
        # The rate limit comes first, so that the kernel never promotes by itself.
        set_knob(PROMOTE_RATE_LIMIT, "0")
        # scan_delay_ms stays as it is. The kernel goes on scanning a mapping without faults for four times this delay
        # (Linux >= 6.4, VMA_PID_RESET_PERIOD), so with a short delay it would lose sight of mappings.
        set_knob(f"{SCAN}/scan_size_mb", str(self._size_mb))
        set_knob(f"{SCAN}/scan_period_max_ms", str(self._period_ms))
        set_knob(f"{SCAN}/scan_period_min_ms", str(self._period_ms))
        set_knob(NUMA_BALANCING, MEMORY_TIERING)

    def watch(self, watched: Watched) -> None:
        """Nothing to do: the events cover all processes, or the cgroup."""

    def poll(self, now_ms: int) -> Sequence[Sightings]:
        return [
            self._sightings(count)
            for ring in self._rings
            for count in drain(ring, self._words, self._samples, self._counts)
            if count
        ]

    def _sightings(self, count: int) -> Sightings:
        fields = self._samples.fields
        self._counts["numa_hint_faults"] += count
        return Sightings(
            fields[PID, :count].astype(np.int32),
            fields[ADDR, :count].copy(),
            np.ones(count, np.uint32),
            self._node_of_cpu[fields[CPU, :count].astype(np.int64)],
            np.zeros(count, np.bool_),
            hint_fault=True,
        )

    def set_effort(self, share: float) -> None:
        """Mark less often."""
        self._effort = share
        period = str(round(self._period_ms / share))
        self._set_knob(f"{SCAN}/scan_period_max_ms", period)
        self._set_knob(f"{SCAN}/scan_period_min_ms", period)

    def sampling(self) -> str:
        period = round(self._period_ms / self._effort)
        return f"hint faults: {self._size_mb} MiB of each program marked every {period} ms"

    def counters(self) -> dict[str, int]:
        return dict(self._counts)

    def stop(self) -> None:
        for ring in self._rings:
            ring.close()
        self._rings = []
