"""The vocabulary of a trace: what a program did to its memory, in time slices.

A *trace* is a recording read from disk or a synthetic workload. Its pages are dense indices
`0 <= page < pages`; its regions say which address range each index range came from. Inside a slice there
is one row for each touched (page, accessing node), sorted by that pair; the order of the accesses inside a
slice is not kept, because every tiering mechanism acts on tens of milliseconds or more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pghot.arrays import I16, I64, U32, U64

if TYPE_CHECKING:
    from pghot.recording.compressibility import Compressibility


@dataclass(frozen=True, slots=True)
class Region:
    """A range of dense pages and the addresses it stands for.

    first_page, pages  the dense range [first_page, first_page + pages)
    space              number of the address space (0 = the recorded program, 1.. = its children)
    start_address      virtual address of first_page, bytes
    name               "[heap]", "[stack]", "[anon]" or the path of the mapped file
    """

    first_page: int
    pages: int
    space: int
    start_address: int
    name: str


@dataclass(frozen=True, slots=True)
class TraceInfo:
    """What is known of a trace apart from its slices.

    slice_ns             the program's own virtual time in one slice
    ns_per_instruction   the nominal rate that turned instructions into that virtual time
    threads              how many threads carried the work: the lab lets that many cores run it
    llc_bytes, llc_ways  the last-level cache behind the misses (0: every touch is a miss)
    mlp                  cache misses that one core keeps in flight when they are not sequential
                         (0: unknown, the lab's default applies)
    source               "qemu", "workload", "import", ...: who saw the accesses
    sampling_period      1 when every access was counted
    lost                 accesses or samples known to be lost
    page_bytes           bytes of one dense page
    stored_bytes         what a compressing device makes of 4 KiB, and of 4 KiB that were written; None: as sampled
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


@dataclass(frozen=True, slots=True)
class SliceBatch:
    """Consecutive slices. Rows of slice `i` are `offsets[i]:offsets[i + 1]` of the row arrays.

    start_ns      uint64[S]    virtual time at which the slice begins
    instructions  uint64[S]    instructions of all threads in the slice
    offsets       int64[S+1]
    page          uint32[R]    dense page, ascending inside a slice
    touches       uint32[R]    loads and stores
    misses        uint32[R]    of these, last-level-cache misses
    sequential    uint32[R]    of the misses, those to the line after the page's previous miss
    writes        uint32[R]    of the touches, stores
    node          int16[R]     node of the accessing CPU
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

    @property
    def slices(self) -> int:
        return len(self.start_ns)

    @property
    def rows(self) -> int:
        return len(self.page)


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
