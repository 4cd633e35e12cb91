"""The vocabulary of a trace: what a program did to its memory, in time slices.

A *trace* is a recording read from disk or a synthetic workload. Its pages are dense indices
`0 <= page < pages`; its regions say which address range each index range came from. Inside a slice there
is one row for each touched (page, accessing node), sorted by that pair. A recorder also tells threads apart: its
rows are sorted by (page, node, process, thread), and a reader adds them up unless asked not to. The order of the
accesses inside a slice is not kept, because every tiering mechanism acts on tens of milliseconds or more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from pghot.arrays import I16, I64, U16, U32, U64

if TYPE_CHECKING:
    from pghot.recording.compressibility import Compressibility


class Verification(StrEnum):
    """How far a recording can be believed.

    VERIFIED    sealed, and everything read agrees with the seal
    TRUNCATED   what is there agrees with its digests, but the recorder did not finish, or a damaged end was left out
    UNVERIFIED  from a file without a seal, such as Parquet that another program wrote: nothing can be checked
    """

    VERIFIED = "verified"
    TRUNCATED = "truncated"
    UNVERIFIED = "unverified"


class MemoryKind(StrEnum):
    """What a region of memory is, by the mapping behind it (proc(5), /proc/PID/maps)."""

    ANON = "anon"
    HEAP = "heap"
    STACK = "stack"
    FILE = "file"
    SHARED = "shared memory"


# Memory that programs share by name: tmpfs at its usual place, memfd_create(2), System V segments, and anonymous
# mappings with MAP_SHARED (mm/shmem.c names them all).
_SHARED_NAMES = ("/dev/shm/", "/memfd:", "/SYSV", "/dev/zero")


def memory_kind(name: str) -> MemoryKind:
    """What a mapping is, by its name in /proc/PID/maps.

    >>> memory_kind("/memfd:pool (deleted)")
    <MemoryKind.SHARED: 'shared memory'>
    """
    if name.startswith(_SHARED_NAMES):
        return MemoryKind.SHARED
    if name.startswith("/"):
        return MemoryKind.FILE
    if name.startswith("[stack"):
        return MemoryKind.STACK
    return MemoryKind.HEAP if name == "[heap]" else MemoryKind.ANON


NOT_LIVE = ("qemu", "workload", "import")  # whose traces hold every access, at no time of a real clock


@dataclass(frozen=True, slots=True)
class Region:
    """A range of dense pages and the addresses it stands for.

    first_page, pages  the dense range [first_page, first_page + pages)
    space              number of the address space (0 = the recorded program, 1.. = its children)
    start_address      virtual address of first_page, bytes
    name               "[heap]", "[stack]", "[anon]" or the path of the mapped object
    kind               what the memory is
    site               where it was allocated, innermost frame first, frames separated by " < "; "" when not recorded
    """

    first_page: int
    pages: int
    space: int
    start_address: int
    name: str
    kind: MemoryKind = MemoryKind.ANON
    site: str = ""


def pages_by_space(regions: Sequence[Region], pages: int) -> list[U32]:
    """The pages of each address space, in the order of addresses; those of no region are the first one's.

    >>> low, high = Region(0, 2, 1, 4096, "[heap]"), Region(3, 2, 1, 1 << 30, "[anon]")
    >>> [each.tolist() for each in pages_by_space([high, Region(2, 1, 0, 0, "[stack]"), low], 6)]
    [[2, 5], [0, 1, 3, 4]]
    """
    free = np.ones(pages, np.bool_)
    parts: dict[int, list[U32]] = {}
    for region in sorted(regions, key=lambda region: (region.space, region.start_address)):
        own = np.arange(region.first_page, region.first_page + region.pages, dtype=np.uint32)
        free[own] = False
        parts.setdefault(region.space, []).append(own)
    spaces = [np.concatenate(part) for part in parts.values()] or [np.empty(0, np.uint32)]
    spaces[0] = np.concatenate([spaces[0], np.flatnonzero(free).astype(np.uint32)])
    return spaces


@dataclass(frozen=True, slots=True)
class Process:
    """A recorded process; its position in `TraceInfo.processes` is the number that rows carry.

    pid   of the process; under emulation, of the emulator that ran it
    name  the program that it ran last
    """

    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class Task:
    """A recorded thread; its position in `TraceInfo.tasks` is the number that rows carry.

    tid      as the kernel numbers it
    process  position of its process in `TraceInfo.processes`
    name     its comm (task_struct), "" when not known
    """

    tid: int
    process: int
    name: str


@dataclass(frozen=True, slots=True)
class TraceInfo:
    """What is known of a trace apart from its slices.

    slice_ns             the program's own virtual time in one slice
    ns_per_instruction   the nominal rate that turned instructions into that virtual time
    synchronous          the threads of a node do its accesses, and now and then all wait for the slowest, as ranks of
                         MPI programs do; else whoever has time does what is left
    threads              how many threads carried the work: the lab lets that many cores run it
    llc_bytes, llc_ways  the last-level cache behind `SliceBatch.misses` (0: every touch is a miss)
    cache_bytes          the caches behind the rows of `SliceBatch.misses_by_cache`, ascending; the first is
                         `llc_bytes`
    patterns             which columns of `PATTERNS` were counted; the others are 0 because nobody looked
    mlp                  cache misses that one core keeps in flight when they are not sequential
                         (0: unknown, the lab's default applies)
    source               "qemu", "workload", "import", ...: who saw the accesses
    sampling_period      1 when every access was counted
    lost                 accesses or samples known to be lost
    page_bytes           bytes of one dense page
    stored_bytes         what a compressing device makes of 4 KiB, and of 4 KiB that were written; None: as sampled
    processes, tasks     who made the accesses; empty when that was not recorded
    verification         how far the recording can be believed; None: the trace was made here, as workloads are
    doubt                why a recording is not `VERIFIED`, in words
    not_known            of an imported recording, sentences: what its format, or this file, does not say
    """

    name: str
    source: str
    slice_ns: int
    ns_per_instruction: float = 0.5
    threads: int = 1
    llc_bytes: int = 0
    llc_ways: int = 0
    mlp: float = 0.0
    sampling_period: int = 1
    lost: int = 0
    page_bytes: int = 4096
    nodes: int = 1
    command: tuple[str, ...] = ()
    kernel: str = ""
    notes: tuple[str, ...] = ()
    stored_bytes: tuple[int, int] | None = None
    synchronous: bool = False
    cache_bytes: tuple[int, ...] = ()
    patterns: tuple[str, ...] = ()
    processes: tuple[Process, ...] = ()
    tasks: tuple[Task, ...] = ()
    verification: Verification | None = None
    doubt: str = ""
    not_known: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.cache_bytes:
            object.__setattr__(self, "cache_bytes", (self.llc_bytes,))

    @property
    def measured(self) -> bool:
        """Whether a live source saw the accesses: then the misses are estimates, and the time is the real one."""
        return self.source not in NOT_LIVE


# How a page's misses follow each other. A miss belongs to one of them or to none (an address that can be computed
# ahead, in no order): "sequential" to the line after the page's previous miss; "strided" at another constant distance
# from the miss before of the same instruction; "dependent" at an address that an earlier miss loaded.
PATTERNS = ("sequential", "strided", "dependent")


# Columns that `SliceBatch` was not given.
_LEFT_OUT_16: U16 = np.empty(0, np.uint16)
_LEFT_OUT_32: U32 = np.empty(0, np.uint32)


@dataclass(frozen=True, slots=True)
class SliceBatch:
    """Consecutive slices. Rows of slice `i` are `offsets[i]:offsets[i + 1]` of the row arrays.

    start_ns         uint64[S]     virtual time at which the slice begins, ascending
    instructions     uint64[S]     instructions of all threads in the slice
    offsets          int64[S+1]
    page             uint32[R]     dense page, ascending inside a slice
    touches          uint32[R]     loads and stores
    misses           uint32[R]     of these, misses of the last-level cache (the first of `misses_by_cache`)
    sequential       uint32[R]     of the misses, those to the line after the page's previous miss
    writes           uint32[R]     of the touches, stores
    node             int16[R]      node of the accessing CPU
    process, thread  uint16[R]     positions in `TraceInfo.processes` and `TraceInfo.tasks`
    strided          uint32[R]     of the misses, those of a constant stride other than the next line
    dependent        uint32[R]     of the misses, those whose address an earlier miss loaded
    misses_by_cache  uint32[C, R]  misses of each cache of `TraceInfo.cache_bytes`; the patterns are counted for the
                                   first, the smallest

    The last five may be left out: they are then zeros, and `misses` alone.
    """

    start_ns: U64
    instructions: U64
    offsets: I64
    page: U32
    touches: U32
    misses: U32
    sequential: U32
    writes: U32
    node: I16
    process: U16 = field(default_factory=lambda: _LEFT_OUT_16)
    thread: U16 = field(default_factory=lambda: _LEFT_OUT_16)
    strided: U32 = field(default_factory=lambda: _LEFT_OUT_32)
    dependent: U32 = field(default_factory=lambda: _LEFT_OUT_32)
    misses_by_cache: U32 = field(default_factory=lambda: _LEFT_OUT_32)

    def __post_init__(self) -> None:
        for name in ("process", "thread", "strided", "dependent"):
            given = getattr(self, name)
            if given is _LEFT_OUT_16 or given is _LEFT_OUT_32:
                object.__setattr__(self, name, np.zeros(len(self.page), given.dtype))
        if self.misses_by_cache is _LEFT_OUT_32:
            object.__setattr__(self, "misses_by_cache", self.misses[None, :])

    @property
    def slices(self) -> int:
        return len(self.start_ns)

    @property
    def rows(self) -> int:
        return len(self.page)


@runtime_checkable
class Trace(Protocol):
    """A recording or a workload: re-iterable, the same slices every time."""

    @property
    def info(self) -> TraceInfo: ...

    @property
    def pages(self) -> int:
        """Size of the dense index space; the footprint is the part of it that is touched."""

    @property
    def regions(self) -> tuple[Region, ...]: ...

    def batches(self) -> Iterator[SliceBatch]: ...


@runtime_checkable
class AddsUpRows(Protocol):
    """A trace that adds up the rows of another.

    cut_rows  rows whose sums did not fit 32 bits and were cut to 2^32 - 1; known once all batches were read
    """

    cut_rows: int


def cut_rows_of(trace: object) -> int:
    """The `cut_rows` of a trace, 0 for one that adds up nothing."""
    return trace.cut_rows if isinstance(trace, AddsUpRows) else 0


@dataclass(slots=True)
class MemoryTrace:
    """A trace held in memory: what tests, importers and the page-size coarsening build."""

    info: TraceInfo
    pages: int
    regions: tuple[Region, ...]
    parts: list[SliceBatch] = field(default_factory=list)
    compressibility: Compressibility | None = None

    def batches(self) -> Iterator[SliceBatch]:
        return iter(self.parts)
