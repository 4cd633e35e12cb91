"""The tracepoint damon:damon_aggregated, read: every region at the end of each aggregation.

It comes through a perf event on the kdamond's thread. Compared with `update_schemes_tried_regions` of sysfs, it never
waits for the kdamond, it names the target of each region, and it needs no file for each region (reading 450 regions
through sysfs took 1.6 s under emulation).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable

import numpy as np

from pghot.errors import PghotError, UnsupportedError
from pghot.kernel.damon_records import FIELDS, FOUND, LOST, TAIL, Regions, newest_of, parse_format
from pghot.kernel.needs import Need
from pghot.kernel.perf_event import EventSpec, Ring, perf_event_open
from pghot.kernel.sysroot import SysRoot

TRACING = "/sys/kernel/tracing"
EVENT = f"{TRACING}/events/damon/damon_aggregated"
TYPE_TRACEPOINT = 2
SAMPLE_RAW = 1 << 10

_RECORD_BYTES = 64  # of the layout of Linux 5.18 to 6.12; only sizes the ring


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
