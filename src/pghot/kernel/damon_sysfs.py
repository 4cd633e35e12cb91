"""DAMON through sysfs (mm/damon/sysfs.c, Documentation/admin-guide/mm/damon/usage.rst): one kdamond of our own.

A kdamond of somebody else is never touched: `damon_need` is unmet while any exists, since their number is one knob
for all. Linux 7.x runs one at boot that sysfs does not show (DAMON_STAT); it makes `on` fail with EBUSY.

What it finds is read from a tracepoint: `pghot.kernel.damon_trace`.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass

from pghot.errors import PghotError, UnsupportedError
from pghot.kernel.needs import Need
from pghot.kernel.sysroot import SysRoot

KDAMONDS = "/sys/kernel/mm/damon/admin/kdamonds"
NUMBER = f"{KDAMONDS}/nr_kdamonds"
_KDAMOND = f"{KDAMONDS}/0"
STATE = f"{_KDAMOND}/state"
_CONTEXT = f"{_KDAMOND}/contexts/0"
_PID = f"{_KDAMOND}/pid"
# In-kernel users of DAMON (mm/damon/{stat,lru_sort,reclaim}.c) that hold the one running slot.
_MODULES = ("damon_stat", "damon_lru_sort", "damon_reclaim")


@dataclass(frozen=True, slots=True)
class Intervals:
    """Times in microseconds and the bounds of the number of regions of each target."""

    sample_us: int = 5_000
    aggregate_us: int = 100_000
    update_us: int = 1_000_000
    min_regions: int = 10
    max_regions: int = 1000


def damon_need(root: SysRoot, operations: str) -> Need:
    """Whether DAMON with these operations ("vaddr", "paddr") can be used, and nobody else uses it."""
    what = f"DAMON ({operations}) through {KDAMONDS}"
    if not root.exists(NUMBER):
        return Need(
            what, "unsupported", f"no {NUMBER}", "a kernel with CONFIG_DAMON_SYSFS and CONFIG_DAMON_VADDR"
        )
    if not root.writable(NUMBER):
        return Need(what, "not permitted", f"not permitted to write {NUMBER}", "run as root")
    if (count := root.read_or(NUMBER, "0")) != "0":
        return Need(
            what, "unsupported", f"{count} kdamond(s) of somebody else exist", "end that user of DAMON first"
        )
    for module in _MODULES:
        if root.read_or(f"/sys/module/{module}/parameters/enabled", "N") == "Y":
            return Need(
                what, "unsupported", f"the kernel's own {module} runs and DAMON allows one user",
                f"echo N > /sys/module/{module}/parameters/enabled",
            )  # fmt: skip
    return Need(what)


class Kdamond:
    """Our kdamond: monitors the address spaces of processes ("vaddr"), or physical memory ("paddr")."""

    def __init__(self, root: SysRoot, operations: str, intervals: Intervals) -> None:
        self._root, self._operations, self._intervals = root, operations, intervals

    def configure(self) -> None:
        """Fill in the directory of a kdamond that was just created. Raises as `_write`."""
        times = self._intervals
        self._write(f"{_KDAMOND}/contexts/nr_contexts", 1)
        # avail_operations since Linux 5.19; 5.18 has vaddr and paddr where they are configured.
        available = self._root.read_or(f"{_CONTEXT}/avail_operations", self._operations).split()
        if self._operations not in available:
            raise UnsupportedError(
                f"DAMON of this kernel has no '{self._operations}' operations",
                f"a kernel with CONFIG_DAMON_{self._operations.upper()}",
            )
        self._write(f"{_CONTEXT}/operations", self._operations)
        attributes = f"{_CONTEXT}/monitoring_attrs"
        self._write(f"{attributes}/intervals/sample_us", times.sample_us)
        self._write(f"{attributes}/intervals/aggr_us", times.aggregate_us)
        self._write(f"{attributes}/intervals/update_us", times.update_us)
        self._bound_regions(1)

    def watch_processes(self, pids: Sequence[int]) -> None:
        """The processes to monitor; their order is that of the targets."""
        targets = f"{_CONTEXT}/targets"
        self._bound_regions(len(pids))
        self._write(f"{targets}/nr_targets", len(pids))
        for number, pid in enumerate(pids):
            self._write(f"{targets}/{number}/pid_target", pid)

    def watch_memory(self, ranges: Sequence[tuple[int, int]]) -> None:
        """The physical memory to monitor, as ascending ranges [start, end) of bytes."""
        target = f"{_CONTEXT}/targets/0"
        self._write(f"{_CONTEXT}/targets/nr_targets", 1)
        self._write(f"{target}/regions/nr_regions", len(ranges))
        for number, (start, end) in enumerate(ranges):
            self._write(f"{target}/regions/{number}/start", start)
            self._write(f"{target}/regions/{number}/end", end)

    def _bound_regions(self, targets: int) -> None:
        """The kernel's bounds are for all targets together: the first would leave later ones no region to split."""
        bounds = f"{_CONTEXT}/monitoring_attrs/nr_regions"
        for name, regions in (("max", self._intervals.max_regions), ("min", self._intervals.min_regions)):
            self._write(f"{bounds}/{name}", regions * targets)

    def commit(self) -> None:
        """Make a running kdamond take the targets; waits for it, up to an aggregation."""
        self._write(STATE, "commit")

    @property
    def running(self) -> bool:
        """False too after its last target ended: a kdamond ends with it."""
        return self._root.read_or(STATE) == "on"

    @property
    def pid(self) -> int:
        """Of its thread, -1 when it does not run."""
        return int(self._root.read_or(_PID, "-1"))

    def _write(self, path: str, value: object) -> None:
        try:
            self._root.write(path, str(value))
        except FileNotFoundError:
            raise UnsupportedError(
                f"no {path}", "this kernel's DAMON is too old; Linux 5.18 has it"
            ) from None
        except OSError as error:
            hint = "somebody else uses DAMON" if error.errno == errno.EBUSY else "see the kernel's log"
            raise PghotError(f"DAMON: cannot write '{value}' to {path}: {error.strerror}", hint) from error
