"""Slices of one or several processes, merged on their common virtual clock into one recording's slices."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import PurePath

import numpy as np

from pghot.arrays import U32, U64
from pghot.errors import PghotError
from pghot.recorder.decode import SliceFrame, Thread
from pghot.recorder.page_sites import PageSites
from pghot.recorder.slice_rows import Rows, added_up, to_batch
from pghot.recording.regions import continues
from pghot.recording.trace import Region, SliceBatch, Task, memory_kind
from pghot.units import PAGE_BYTES

EXTENT_PAGES = 512

# Numbers of threads are 16 bits in a recording. The threads that come later share the last one.
_MAX_TASKS = 1 << 16

# A process that waits in a system call sends its last counts late. With several processes, this many slices are kept
# open for it. What comes even later is counted in the oldest open slice.
_OPEN_SLICES = 16


@dataclass(slots=True)
class Process:
    """One address space of the recording: a process between two execs.

    extent_of   global number of each of the process's extents
    instructions  of each vCPU so far
    task_of       number of the thread that runs as each vCPU
    sites         where memory was mapped, in words, by the process's numbers
    guest_base    where address 0 of the program is in the process that emulates it
    leaving       it is about to become another program: its memory must not be read any more
    """

    pid: int
    space: int
    program: str
    names: dict[int, str] = field(default_factory=dict)
    extent_of: U32 = field(default_factory=lambda: np.empty(0, np.uint32))
    extent_address: list[int] = field(default_factory=list)
    instructions: dict[int, int] = field(default_factory=dict)
    task_of: dict[int, int] = field(default_factory=dict)
    sites: dict[int, str] = field(default_factory=dict)
    guest_base: int = 0
    leaving: bool = False


@dataclass(slots=True)
class _OpenSlice:
    instructions: int = 0
    parts: list[Rows] = field(default_factory=list)


class Timeline:
    """Collects `SliceFrame`s and gives back whole slices, oldest first.

    references, lost, instructions, waited  totals of what was added
    tasks     the threads, by number; with `names_changed` when some are new or have another name
    sites     of the pages; None: nobody asked for them
    """

    def __init__(self, slice_ns: int, stacks: bool = False) -> None:
        self._slice_ns = slice_ns
        self._open: dict[int, _OpenSlice] = {}
        self._next = 0
        self._extents = 0
        self._regions: list[Region] = []
        self._seen = np.zeros(0, np.bool_)
        self._numbers: dict[tuple[int, int], int] = {}
        self.tasks: list[Task] = []
        self.sites = PageSites() if stacks else None
        self.names_changed = False
        self.references = 0
        self.lost = 0
        self.instructions = 0
        self.waited = 0
        self.late_rows = 0

    @property
    def pages(self) -> int:
        """Size of the dense index space so far."""
        return self._extents * EXTENT_PAGES

    @property
    def footprint(self) -> int:
        """Pages touched so far."""
        return int(np.count_nonzero(self._seen))

    @property
    def now_ns(self) -> int:
        """Virtual time up to which slices were taken."""
        return self._next * self._slice_ns

    def touched(self, process: Process) -> tuple[U32, U64]:
        """Pages of a process touched so far: dense page uint32[K], address in the emulating process uint64[K]."""
        seen = self._seen.reshape(-1, EXTENT_PAGES)[process.extent_of]
        extent, at = np.nonzero(seen)
        start = np.array(process.extent_address, np.uint64) + np.uint64(process.guest_base)
        page = process.extent_of[extent] * np.uint32(EXTENT_PAGES) + at.astype(np.uint32)
        return page, start[extent] + at.astype(np.uint64) * np.uint64(PAGE_BYTES)

    def name_thread(self, process: Process, thread: Thread) -> None:
        """Let a vCPU's rows belong to this thread from now on. A thread stays itself through an exec."""
        name = thread.name
        if name.startswith("qemu-"):  # the kernel names a thread after the file that was executed
            name = PurePath(process.program).name[:15]
        key = process.space, thread.tid
        number = self._numbers.setdefault(key, min(len(self.tasks), _MAX_TASKS - 1))
        process.task_of[thread.index] = number
        if number == len(self.tasks):
            self.tasks.append(Task(thread.tid, process.space, name))
        else:
            self.tasks[number] = replace(self.tasks[number], name=name)
        self.names_changed = True

    def add(self, process: Process, frame: SliceFrame) -> None:
        """Count a process's part of a slice, and place its new extents in the dense index space."""
        self._place_extents(process, frame)
        self._name_regions(process, frame)
        self.references += int(frame.counters[0].sum(dtype=np.uint64))
        self.waited += frame.waited
        self.lost += frame.lost
        if self.sites is not None:
            self.sites.lost += frame.sites_lost
        for cpu, count in enumerate(frame.instructions.tolist()):
            process.instructions[cpu] = process.instructions.get(cpu, 0) + count
        if frame.index < self._next:
            self.late_rows += len(frame.page)
        slice_ = self._open.setdefault(max(frame.index, self._next), _OpenSlice())
        slice_.instructions += int(frame.instructions.sum())
        self.instructions += int(frame.instructions.sum())
        page = process.extent_of[frame.page >> 9] * np.uint32(EXTENT_PAGES) + (frame.page & np.uint32(511))
        self._seen[page] = True
        slice_.parts.append(Rows(page, process.space, self._tasks_of(process, frame), frame.counters))

    def _tasks_of(self, process: Process, frame: SliceFrame) -> U32:
        """The thread of each row. One that never said who it is is known by its process alone."""
        first = np.flatnonzero(
            np.concatenate([frame.cpu[:1] == frame.cpu[:1], frame.cpu[1:] != frame.cpu[:-1]])
        )
        numbers = []
        for cpu in frame.cpu[first].tolist():
            if cpu not in process.task_of:
                self.name_thread(process, Thread(cpu, process.pid + cpu, ""))
            numbers.append(process.task_of[cpu])
        return np.repeat(np.array(numbers, np.uint32), np.diff(np.append(first, len(frame.cpu))))

    def take(self, processes: int) -> tuple[SliceBatch, list[Region]] | None:
        """The slices that are complete while `processes` still run, and the regions found since the last call.

        With one process, that is every slice before its newest; with none, all.
        """
        if not self._open:
            return None
        newest = max(self._open) + 1
        end = newest if processes == 0 else newest - (1 if processes == 1 else _OPEN_SLICES)
        ready = sorted(index for index in self._open if index < end)
        if not ready:
            return None
        slices = [self._open.pop(index) for index in ready]
        self._next = ready[-1] + 1
        regions, self._regions = self._regions, []
        starts = np.array(ready, np.uint64) * np.uint64(self._slice_ns)
        instructions = np.array([slice_.instructions for slice_ in slices], np.uint64)
        return to_batch(starts, instructions, [added_up(slice_.parts) for slice_ in slices]), regions

    def _place_extents(self, process: Process, frame: SliceFrame) -> None:
        new = np.arange(self._extents, self._extents + len(frame.extents), dtype=np.uint32)
        self._extents += len(new)
        if len(new):
            self._seen = np.concatenate([self._seen, np.zeros(len(new) * EXTENT_PAGES, np.bool_)])
            process.extent_of = np.concatenate([process.extent_of, new])
            process.extent_address += [extent << 21 for extent in frame.extents.tolist()]

    def _name_regions(self, process: Process, frame: SliceFrame) -> None:
        for first, pages, name, number in frame.regions.tolist():
            extent, at = divmod(first, EXTENT_PAGES)
            if pages > EXTENT_PAGES - at or extent >= len(process.extent_of):
                raise PghotError(f"the plugin named {pages} pages from {first} on", "report this as a bug")
            dense = int(process.extent_of[extent]) * EXTENT_PAGES + at
            address = process.extent_address[extent] + at * PAGE_BYTES
            text, site = process.names.get(name, "[anon]"), process.sites.get(number, "")
            kind, fresh = memory_kind(text), [(dense, pages)]
            if self.sites is not None:
                fresh = self.sites.name(dense, pages, site, frame.index * self._slice_ns)
            for begin, length in fresh:
                start = address + (begin - dense) * PAGE_BYTES
                self._add_region(Region(begin, length, process.space, start, text, kind, site))

    def _add_region(self, region: Region) -> None:
        """Pieces come by the extent: what goes on with the one before is written with it."""
        last = self._regions[-1] if self._regions else None
        if last is not None and continues(last, region, PAGE_BYTES):
            self._regions[-1] = replace(last, pages=last.pages + region.pages)
        else:
            self._regions.append(region)
