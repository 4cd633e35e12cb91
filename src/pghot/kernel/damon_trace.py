"""The tracepoint damon:damon_aggregated (include/trace/events/damon.h): every region at the end of each aggregation.

Read through a perf event on the kdamond's thread. Unlike `update_schemes_tried_regions` of sysfs it never waits for
the kdamond, it names the target that a region is of, and it has no file for each region (a read of 450 regions
through sysfs took 1.6 s under emulation).
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U64
from pghot.errors import PghotError, UnsupportedError
from pghot.kernel.needs import Need
from pghot.kernel.perf_event import EventSpec, Ring, perf_event_open
from pghot.kernel.sysroot import SysRoot

TRACING = "/sys/kernel/tracing"
EVENT = f"{TRACING}/events/damon/damon_aggregated"
TYPE_TRACEPOINT = 2
SAMPLE_RAW = 1 << 10

# Rows of the decoded records, and the fields of the tracepoint that they are.
FIELDS = ("target_id", "nr_regions", "start", "end", "nr_accesses", "age")
TARGET, REGIONS, START, END, ACCESSES, AGE = range(6)
# What a pass counts.
TAIL, FOUND, LOST = range(3)

_RECORD_BYTES = 64  # of the layout of Linux 5.18 to 6.12; only sizes the ring
_FIELD = re.compile(r"field:.*?(\w+);\s*offset:(\d+);\s*size:(\d+);")


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions of one target at the end of one aggregation.

    target      index of the target, as committed
    start, end  uint64[K]  bytes, ascending
    accesses    uint32[K]  samples of the aggregation that found the region's sampled page accessed
    age         uint32[K]  aggregations for which it has been about so
    """

    target: int
    start: U64
    end: U64
    accesses: npt.NDArray[np.uint32]
    age: npt.NDArray[np.uint32]


def trace_need(root: SysRoot) -> Need:
    """Whether the tracepoint can be seen. Changes nothing."""
    what = "tracepoint damon:damon_aggregated"
    if root.exists(f"{EVENT}/id"):
        return Need(what)
    if root.exists(TRACING) and not root.exists(f"{TRACING}/events"):
        return Need(
            what, "not permitted", f"no events in {TRACING}", f"as root: mount -t tracefs none {TRACING}"
        )
    return Need(what, "unsupported", f"no {EVENT}", "a kernel with CONFIG_DAMON and CONFIG_EVENT_TRACING")


def parse_format(text: str) -> I64:
    """int64[6, 2]: offset and size in bytes of each of `FIELDS` in the raw data, from the event's format file.

    Raises `ValueError` when a field is missing or has a size that is not 4 or 8.
    """
    found = {name: (int(offset), int(size)) for name, offset, size in _FIELD.findall(text)}
    if missing := [name for name in FIELDS if name not in found]:
        raise ValueError(f"no field {missing[0]}")
    layout = np.array([found[name] for name in FIELDS], np.int64)
    if not np.isin(layout[:, 1], (4, 8)).all() or (layout[:, 0] % 4).any() or (layout[:, 0] > 4096).any():
        raise ValueError("fields of other sizes or places")
    return layout


class RegionTrace:
    """The open event of one kdamond, and what was read of it."""

    def __init__(self, root: SysRoot, kdamond_pid: int, max_regions: int) -> None:
        """Raises `PghotError` when the kernel refuses or its format is another."""
        try:
            self._layout = parse_format(root.read(f"{EVENT}/format"))
        except ValueError as error:
            raise UnsupportedError(
                f"{EVENT}/format: {error}", "report it with the kernel's version"
            ) from None
        data_pages = _ring_pages(max_regions)
        self._out = np.zeros((len(FIELDS), data_pages * mmap.PAGESIZE // 32), np.uint64)
        self._counts = np.zeros(3, np.int64)
        # Compiled before the ring begins to fill.
        from pghot.kernel.damon_decode import decode

        self._decode: Callable[..., None] = decode
        decode(np.zeros(2, np.uint32), 0, 0, self._layout, self._out, self._counts)
        spec = EventSpec(TYPE_TRACEPOINT, int(root.read(f"{EVENT}/id")), SAMPLE_RAW)
        try:
            fd = perf_event_open(spec, kdamond_pid, -1)
        except OSError as error:
            raise PghotError(f"cannot trace the kdamond: {error.strerror}", "run as root") from error
        try:
            self._ring = Ring(fd, data_pages)
        except OSError as error:
            os.close(fd)
            raise PghotError(
                f"no ring of {data_pages} pages: {error.strerror}", "give a smaller damon.max_regions"
            ) from error
        self.lost = 0

    def newest(self) -> list[Regions]:
        """The newest whole aggregation of each target since the last call; empty when there was none."""
        tail, head = self._ring.tail, self._ring.head
        self._decode(self._ring.data.view(np.uint32), tail, head, self._layout, self._out, self._counts)
        self.lost += int(self._counts[LOST])
        found = newest_of(self._out[:, : int(self._counts[FOUND])])
        self._ring.consume(int(self._counts[TAIL]))
        return found

    def close(self) -> None:
        self._ring.close()


def _ring_pages(max_regions: int) -> int:
    """A power of two with room for four aggregations between two polls."""
    return 1 << max(4, (4 * max_regions * _RECORD_BYTES // mmap.PAGESIZE).bit_length())


def newest_of(records: U64) -> list[Regions]:
    """The last whole group of each target in uint64[6, K] records; parts of groups are left out.

    A group is one target's regions in ascending order, as many as its records say.
    """
    if records.shape[1] == 0:
        return []
    target, start = records[TARGET], records[START]
    edge = np.flatnonzero((target[1:] != target[:-1]) | (start[1:] <= start[:-1])) + 1
    edges = [0, *edge.tolist(), records.shape[1]]
    last: dict[int, slice] = {}
    for first, end in pairwise(edges):
        if end - first == int(records[REGIONS, first]):
            last[int(target[first])] = slice(first, end)
    return [
        Regions(
            which, start[held].copy(), records[END, held].copy(), records[ACCESSES, held].astype(np.uint32),
            records[AGE, held].astype(np.uint32),
        )
        for which, held in sorted(last.items())
    ]  # fmt: skip
