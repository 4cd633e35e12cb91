"""NUMA hint faults as a live source (kernel/sched/fair.c, mm/memory.c: do_numa_page).

The kernel's tiering mode (numa_balancing=2, Linux >= 5.18) marks pages below the top tier PROT_NONE, one part of the
address space after the other. The next access then faults. With numa_balancing_promote_rate_limit_MBps=0 (>= 6.1) the
kernel goes on taking these faults but promotes no page itself. A perf software event on minor faults reports the
address of each.

A folio that one entry of a page table maps faults once for each scan, wherever it is touched, and moves as a whole. So
heat belongs to its first page, whose address is reported.

Other minor faults, such as first touches, are accesses too and are reported as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from pghot.engine.accesses import Mechanism, Sees
from pghot.kernel import perf_event
from pghot.kernel.folio_heads import first_in_block, first_in_folio
from pghot.kernel.folios import small_sizes_on
from pghot.kernel.knob_files import NUMA_BALANCING, PROMOTE_RATE_LIMIT, SCAN, SCHED
from pghot.kernel.needs import Need, knob_need, require
from pghot.kernel.node_files import node_of_cpu
from pghot.kernel.perf_event import EventSpec, Ring, open_on_all_cpus, perf_need
from pghot.kernel.perf_records import ADDR, CPU, PAGE_SIZE, PID, Samples, words_of
from pghot.kernel.shortage import ShortageError
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.toptier import kernel_top_nodes, nodes_with_memory
from pghot.kernel.watched import SetKnob, Watched
from pghot.live.sources.access_source import Sightings
from pghot.live.sources.perf_ring import drain
from pghot.live.sources.scan_periods import ScanPeriods
from pghot.live.sources.scan_progress import ScanProgress
from pghot.parameters import check_number

# Bits of numa_balancing (include/linux/sched/sysctl.h).
NORMAL, MEMORY_TIERING = 1, 2

SAMPLE = (
    perf_event.SAMPLE_TID | perf_event.SAMPLE_ADDR | perf_event.SAMPLE_CPU | perf_event.SAMPLE_DATA_PAGE_SIZE
)
_RING_BYTES = 1 << 20  # for each CPU: 26,000 faults between two polls
_BATCH = 1 << 16
_MOST_SCANNED_MB = 1 << 16
# The kernel marks `scan_size_mb` at a time and at most 2560 MiB in a second (MAX_SCAN_WINDOW). Of the mappings that a
# program did not use of late it marks one with each pass over the others: all shall have their turn in this time.
_ALL_MAPPINGS_MS = 3000
_MOST_SCANNED_MB_PER_MS = 2.56
_LEAST_PERIOD_MS, _MOST_PERIOD_MS = 25, 200
_OTHER_MAPPINGS = 10  # of a program's code and its libraries
_LOOK_MS = 1000
# Only root may write these files, and their handlers check the capability too (kernel/sched/core.c).
_RIGHTS = "as root with CAP_SYS_ADMIN: sudo pghot ..."


class Faults:
    """Options: scan_period_ms, scan_size_mb  how often the kernel marks pages, and how much of each program (MiB).

    Without a period, it follows from how many mappings the programs have. Where the kernel balances between several
    nodes of the top tier, its own periods stay.
    """

    name = "faults"
    summary = "NUMA hint faults of the kernel's tiering mode; blind to memory under a mempolicy; root"
    mechanism: Mechanism = "hint fault"
    inline = True
    released = True
    weight = 1
    sees: Sees = "lower"
    only_reads = False

    def __init__(self, root: SysRoot, scan_period_ms: int | None = None, scan_size_mb: int = 64) -> None:
        # The kernel divides by the size and does not check it (task_nr_scan_windows, kernel/sched/fair.c).
        check_number(self.name, "scan_size_mb", scan_size_mb, 1, _MOST_SCANNED_MB)
        if scan_period_ms is not None:
            check_number(self.name, "scan_period_ms", scan_period_ms, 1)
        self._root = root
        self._fixed_ms, self._period_ms = scan_period_ms, scan_period_ms or _MOST_PERIOD_MS
        self._size_mb, self._effort = scan_size_mb, 1.0
        self._periods = ScanPeriods(root)
        self._progress = ScanProgress(root)
        self._mode = 0
        self._balances = 0  # the bit for balancing between nodes, where it stays set
        self._pids: tuple[int, ...] = ()
        self._small_folios, self._looked_ms = False, -_LOOK_MS
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
        self._balances = self._balances_now()
        self._pids = watched.pids
        self._period_ms = self._period(watched)
        self.reopen(watched)
        # The rate limit comes first, so that the kernel never promotes by itself.
        set_knob(PROMOTE_RATE_LIMIT, "0")
        # scan_delay_ms stays as it is. The kernel goes on scanning a mapping without faults for four times this delay
        # (Linux >= 6.4, VMA_PID_RESET_PERIOD), so with a short delay it would lose sight of mappings.
        set_knob(f"{SCAN}/scan_size_mb", str(self._size_mb))
        self._set_period()
        self._set_mode()

    def reopen(self, watched: Watched) -> None:
        self._close()
        spec = EventSpec(perf_event.TYPE_SOFTWARE, perf_event.SW_PAGE_FAULTS_MIN, SAMPLE)
        self._rings = open_on_all_cpus(self._root, spec, _RING_BYTES, watched.cgroup)

    def _balances_now(self) -> int:
        """With several nodes in the top tier the kernel may be balancing between these. It goes on doing so, as often
        as its own knobs say: each scan makes memory of the top tier fault, too."""
        several = len(kernel_top_nodes(self._root)) > 1
        return int(self._root.read(NUMA_BALANCING)) & NORMAL if several else 0

    def _period(self, watched: Watched) -> int:
        """So that every mapping of the program with the most of them has its turn soon."""
        if self._fixed_ms is not None:
            return self._fixed_ms
        mappings = _OTHER_MAPPINGS + max((len(space.start) for space in watched.spaces), default=0)
        return min(max(_ALL_MAPPINGS_MS // mappings, _LEAST_PERIOD_MS), _MOST_PERIOD_MS)

    def _set_period(self) -> None:
        if self._balances:
            return
        period = str(round(self._period_ms / self._effort))
        self._set_knob(f"{SCAN}/scan_period_max_ms", period)
        self._set_knob(f"{SCAN}/scan_period_min_ms", period)
        self._periods.begin()

    def _set_mode(self) -> None:
        mode = MEMORY_TIERING | (NORMAL if self._periods.wanted else self._balances)
        if mode == self._mode:
            return
        if self._mode and self._root.read_or(NUMA_BALANCING) != str(self._mode):
            return  # a stranger has set it: a degraded state, and not fought over
        self._mode = mode
        self._set_knob(NUMA_BALANCING, str(mode))

    def watch(self, watched: Watched) -> None:
        """The events cover all processes, or the cgroup. More mappings ask for a shorter period."""
        self._pids = watched.pids
        if (period := self._period(watched)) < self._period_ms:
            self._period_ms = period
            self._set_period()

    def poll(self, now_ms: int) -> Sequence[Sightings]:
        with suppress(ShortageError):  # the rings are emptied all the same
            self._look(now_ms)
        return [
            self._sightings(count)
            for ring in self._rings
            for count in drain(ring, self._words, self._samples, self._counts)
            if count
        ]

    def _look(self, now_ms: int) -> None:
        """See how the programs are scanned."""
        if now_ms - self._looked_ms >= _LOOK_MS:
            self._looked_ms, self._small_folios = now_ms, small_sizes_on(self._root)
        if not self._balances:
            self._periods.tick(self._pids, now_ms, self._effort)
            self._set_mode()
        period_ms = max(self._period_ms / self._effort, self._size_mb / _MOST_SCANNED_MB_PER_MS)
        if self._progress.tick(self._pids, now_ms, self._size_mb << 20, period_ms):
            self._periods.begin()

    def _sightings(self, count: int) -> Sightings:
        fields = self._samples.fields
        self._counts["numa_hint_faults"] += count
        pid = fields[PID, :count].astype(np.int32)
        address = first_in_block(fields[ADDR, :count], fields[PAGE_SIZE, :count])
        if self._small_folios:
            for each in set(self._pids) & set(np.unique(pid).tolist()):
                mine = pid == each
                address[mine] = first_in_folio(self._root, each, address[mine])
        return Sightings(
            pid,
            address,
            np.ones(count, np.uint32),
            self._node_of_cpu[fields[CPU, :count].astype(np.int64)],
            np.zeros(count, np.bool_),
            hint_fault=True,
        )

    def degraded(self) -> list[str]:
        """See `Degrades.degraded`."""
        problems = [
            f"the kernel does not scan process {pid}, though it runs, and nothing new is seen of it: "
            f"look for a tool that sets {NUMA_BALANCING} or its scan periods"
            for pid in self._progress.stalled()
        ]
        if self._periods.unreached:
            problems.append(
                f"{self._periods.unreached} threads keep a scan period of their own, as they touch nothing on the top "
                "tier: their hot pages may be seen late"
            )
        return problems

    def set_effort(self, share: float) -> None:
        """Mark less often."""
        self._effort = share
        self._set_period()

    def sampling(self) -> str:
        often = f"at best every {round(self._period_ms / self._effort)} ms"
        if self._balances:
            often = "as often as the kernel balances between the nodes of the top tier"
        return f"hint faults: {self._size_mb} MiB of each program marked at a time, {often}"

    def counters(self) -> dict[str, int]:
        return dict(self._counts)

    def stop(self) -> None:
        self._periods.stop()
        self._close()

    def _close(self) -> None:
        for ring in self._rings:
            ring.close()
        self._rings = []
