"""What the live sources see, as slices of a recording for the lab.

Live sources say which pages are hot, not how many cache misses a page takes. The recorder estimates those: of the
CPU time that the programs used in a slice, `stall_share` is taken to be spent waiting for memory, at the latency of
a node and with `mlp` misses in flight; these misses are shared out over the sighted pages by their counts. The
recording's notes say so.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pghot.arrays import U32
from pghot.kernel.process import read_stat
from pghot.kernel.shortage import ShortageError
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.sections import SECTION_SHIFT
from pghot.live.machine.spaces import Spaces
from pghot.live.sighted_contents import SightedContents
from pghot.recording.trace import Process, Region, SliceBatch
from pghot.recording.writer import RecordingWriter
from pghot.units import format_number

NS_PER_INSTRUCTION = 0.5


@dataclass(frozen=True, slots=True)
class Estimate:
    """How sightings become misses.

    stall_share  of the programs' CPU time waits for memory
    latency_ns   of a miss while recording
    mlp          misses in flight
    """

    stall_share: float = 0.5
    latency_ns: float = 100.0
    mlp: float = 4.0

    def misses(self, cpu_ns: float) -> float:
        """Misses in so much CPU time.

        >>> Estimate(0.5, 100.0, 4.0).misses(1000.0)
        20.0
        """
        return cpu_ns * self.stall_share * self.mlp / self.latency_ns

    def note(self) -> str:
        return (
            f"misses are estimated: {100 * self.stall_share:.0f} % of the CPU time waits for memory of "
            f"{format_number(self.latency_ns)} ns with {format_number(self.mlp)} misses in flight; "
            "shares between pages are as sampled"
        )


@dataclass(slots=True)
class _Slice:
    """What was seen since the slice began."""

    page: list[U32] = field(default_factory=list)
    count: list[U32] = field(default_factory=list)
    write: list[npt.NDArray[np.bool_]] = field(default_factory=list)


def comm(root: SysRoot, pid: int) -> str:
    """The name of a program as the kernel has it; "" when it has ended."""
    try:
        return read_stat(root, pid).comm
    except OSError:
        return ""


class SliceRecorder:
    """Collects accesses and appends a slice whenever `slice_ns` have passed.

    contents  samples what the sighted pages hold, None: only accesses are recorded
    """

    def __init__(
        self,
        root: SysRoot,
        writer: RecordingWriter,
        spaces: Spaces,
        *,
        slice_ns: int,
        estimate: Estimate,
        contents: SightedContents | None = None,
    ) -> None:
        self.writer = writer
        self._root, self._spaces, self._estimate = root, spaces, estimate
        self._slice_ns = slice_ns
        self._contents = contents
        self._now = _Slice()
        self._began_ns = -1
        self._due_ns = 0
        self._cpu_ns: dict[int, int] = {}
        self._recorded_slot: dict[tuple[int, int], int] = {}
        self._process_of_slot: list[int] = []
        self._number: dict[int, int] = {}
        self._processes: list[Process] = []
        self._new_regions: list[Region] = []

    def saw(self, page: U32, count: U32, write: npt.NDArray[np.bool_]) -> None:
        """Movable pages (dense, uint32[K]) that a source just saw."""
        recorded = self._recorded(page)
        if self._contents is not None:
            self._contents.saw(recorded)
        self._now.page.append(recorded)
        self._now.count.append(count)
        self._now.write.append(write)

    def tick(self, now_ns: int) -> None:
        """Close the slice when its time is over."""
        if self._began_ns < 0:
            self._began_ns, self._due_ns = now_ns, now_ns + self._slice_ns
            self._used_cpu_ns()
        if now_ns >= self._due_ns:
            self._close(now_ns)
        if self._contents is not None:
            now = self.writer.slices * self._slice_ns
            self._contents.take_when_due(now, (now_ns - self._began_ns) / 1e9, self._recorded_slot)

    def finish(self, lost: int) -> None:
        """Close the last slice and the recording. One without a row is none."""
        if self._began_ns >= 0:
            self._close(self._due_ns)
        if self.writer.rows:
            self.writer.finish(lost=lost)
        else:
            self.writer.discard()

    # ---- parts

    def _recorded(self, page: U32) -> U32:
        """Pages in the recording's own numbering: a section of an address space keeps its place for good."""
        number, address = self._spaces.table.where(page)
        section = (address >> np.uint64(SECTION_SHIFT + 12)).astype(np.int64)
        out = np.empty(len(page), np.uint32)
        for space, part in sorted(set(zip(number.tolist(), section.tolist(), strict=True))):
            here = (number == space) & (section == part)
            slot = self._slot(int(space), int(part))
            out[here] = np.uint32(slot << SECTION_SHIFT) | page[here] & np.uint32((1 << SECTION_SHIFT) - 1)
        return out

    def _slot(self, space: int, section: int) -> int:
        key = (space, section)
        if key not in self._recorded_slot:
            slot = self._recorded_slot[key] = len(self._recorded_slot)
            self._process_of_slot.append(self._process(space))
            start = section << (SECTION_SHIFT + 12)
            file = self._spaces.objects.file(space)
            name = file.name if file else "[anon]"
            self._new_regions.append(
                Region(slot << SECTION_SHIFT, 1 << SECTION_SHIFT, space - 1, start, name)
            )
        return self._recorded_slot[key]

    def _process(self, number: int) -> int:
        """The recording's number of the process with this address space, or of a file, which has no pid; its name goes
        into the recording."""
        if number not in self._number:
            self._number[number] = len(self._processes)
            space, file = self._spaces.space(number), self._spaces.objects.file(number)
            pid, name = (space.pid, comm(self._root, space.pid)) if space else (0, file.name if file else "")
            self._processes.append(Process(pid, name))
            self.writer.name_tasks(self._processes, ())
        return self._number[number]

    def _used_cpu_ns(self) -> int:
        """CPU time of the tracked programs since the last call."""
        tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        used = 0
        for space in self._spaces.spaces:
            try:
                now = read_stat(self._root, space.pid).cpu_ticks * tick_ns
            except (OSError, ShortageError):
                continue  # it ended; or its time counts when it can be read again
            # Lower than before only where another program has the pid; the next refresh notices.
            used += max(0, now - self._cpu_ns.get(space.number, now))
            self._cpu_ns[space.number] = now
        return used

    def _close(self, now_ns: int) -> None:
        cpu_ns = self._used_cpu_ns()
        batch = slice_batch(
            self._now.page,
            self._now.count,
            self._now.write,
            self._estimate,
            cpu_ns,
            self.writer.slices * self._slice_ns,
        )
        slots = np.array(self._process_of_slot, np.uint16)
        batch = replace(batch, process=slots[batch.page >> np.uint32(SECTION_SHIFT)])
        self.writer.append(batch, self._new_regions)
        self._new_regions = []
        self._now = _Slice()
        self._due_ns = max(self._due_ns + self._slice_ns, now_ns)


def slice_batch(
    page: Sequence[U32],
    count: Sequence[U32],
    write: Sequence[npt.NDArray[np.bool_]],
    estimate: Estimate,
    cpu_ns: float,
    start_ns: int,
) -> SliceBatch:
    """One slice: the sightings added up per page, scaled to the estimated misses."""
    pages = np.concatenate(page) if page else np.empty(0, np.uint32)
    counts = np.concatenate(count) if count else np.empty(0, np.uint32)
    writes = np.concatenate(write) if write else np.empty(0, np.bool_)
    distinct, where = np.unique(pages, return_inverse=True)
    seen = np.bincount(where, counts, len(distinct))
    written = np.bincount(where, counts * writes, len(distinct))
    scale = estimate.misses(cpu_ns) / seen.sum() if len(distinct) else 0.0
    misses = np.clip(np.rint(seen * max(scale, 0.0)), 1, 2**32 - 1).astype(np.uint32)
    compute_ns = cpu_ns * (1 - estimate.stall_share)
    return SliceBatch(
        start_ns=np.array([start_ns], np.uint64),
        instructions=np.array([compute_ns / NS_PER_INSTRUCTION], np.float64).astype(np.uint64),
        offsets=np.array([0, len(distinct)], np.int64),
        page=distinct.astype(np.uint32),
        touches=misses,
        misses=misses,
        sequential=np.zeros(len(distinct), np.uint32),
        writes=np.rint(misses * (written / np.maximum(seen, 1))).astype(np.uint32),
        node=np.zeros(len(distinct), np.int16),
    )
