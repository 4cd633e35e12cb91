"""DAMON through sysfs (mm/damon/sysfs.c, Documentation/admin-guide/mm/damon/usage.rst): kdamonds of our own.

Kdamonds of others are never touched. Their number is one knob for all of them, so `damon_need` is unmet while any
exists. Linux 7.x runs one at boot that sysfs does not show (DAMON_STAT); it makes `on` fail with EBUSY.

What one finds is read from a tracepoint (`pghot.kernel.damon_trace`); what one moves: `pghot.kernel.damos_sysfs`.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from dataclasses import dataclass

from pghot.errors import PghotError, UnsupportedError, UsageError
from pghot.kernel.needs import Need, knob_need
from pghot.kernel.sysroot import SysRoot

KDAMONDS = "/sys/kernel/mm/damon/admin/kdamonds"
NUMBER = f"{KDAMONDS}/nr_kdamonds"


def state_of(number: int) -> str:
    """The file that switches a kdamond on and off."""
    return f"{KDAMONDS}/{number}/state"


def context_of(number: int) -> str:
    """The directory of what a kdamond does."""
    return f"{KDAMONDS}/{number}/contexts/0"


STATE = state_of(0)
# In-kernel users of DAMON (mm/damon/{stat,lru_sort,reclaim}.c) that hold the one running slot.
_MODULES = ("damon_stat", "damon_lru_sort", "damon_reclaim")


# Ascending ranges [start, end) of bytes.
Ranges = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Intervals:
    """Times in microseconds and the bounds of the number of regions of each target.

    Raises `UsageError` for what DAMON would refuse.
    """

    sample_us: int = 5_000
    aggregate_us: int = 100_000
    update_us: int = 1_000_000
    min_regions: int = 10
    max_regions: int = 1000

    def __post_init__(self) -> None:
        if not 0 < self.sample_us <= self.aggregate_us:
            raise UsageError(
                f"damon: sample_us {self.sample_us} does not fit aggregate_us {self.aggregate_us}",
                "give 0 < sample_us <= aggregate_us, such as 5000 and 100000",
            )
        if not 3 <= self.min_regions <= self.max_regions:
            raise UsageError(
                f"damon: min_regions {self.min_regions} does not fit max_regions {self.max_regions}",
                "give 3 <= min_regions <= max_regions",
            )


def damon_need(root: SysRoot, operations: str) -> Need:
    """Whether DAMON can be used with these operations ("vaddr", "paddr") and nobody else is using it."""
    what = f"DAMON ({operations}) through {KDAMONDS}"
    knob = knob_need(root, what, NUMBER, "a kernel with CONFIG_DAMON_SYSFS and CONFIG_DAMON_VADDR")
    if not knob.met:
        return knob
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
    return knob


class Kdamond:
    """A kdamond of ours, the `number`th: monitors the address spaces of processes ("vaddr"), given ranges of them
    ("fvaddr"), or physical memory ("paddr")."""

    def __init__(self, root: SysRoot, operations: str, intervals: Intervals, number: int = 0) -> None:
        self._root, self._operations, self._intervals = root, operations, intervals
        self.state, self._context = state_of(number), context_of(number)
        self._pid = f"{KDAMONDS}/{number}/pid"

    def configure(self) -> None:
        """Fill in the directory of a kdamond that was just created. Raises as `_write`."""
        times = self._intervals
        self.write(f"{self._context.removesuffix('/0')}/nr_contexts", 1)
        # avail_operations since Linux 5.19; 5.18 has vaddr and paddr where they are configured.
        available = self._root.read_or(f"{self._context}/avail_operations", self._operations).split()
        if self._operations not in available:
            raise UnsupportedError(
                f"DAMON of this kernel has no '{self._operations}' operations",
                f"boot a kernel with CONFIG_DAMON_{self._operations.upper()}",
            )
        self.write(f"{self._context}/operations", self._operations)
        attributes = f"{self._context}/monitoring_attrs"
        self.write(f"{attributes}/intervals/sample_us", times.sample_us)
        self.write(f"{attributes}/intervals/aggr_us", times.aggregate_us)
        self.write(f"{attributes}/intervals/update_us", times.update_us)
        self._bound_regions(1)

    def watch_processes(self, pids: Sequence[int]) -> None:
        """The processes to monitor; their order is that of the targets."""
        targets = f"{self._context}/targets"
        self._bound_regions(len(pids))
        self.write(f"{targets}/nr_targets", len(pids))
        for number, pid in enumerate(pids):
            self.write(f"{targets}/{number}/pid_target", pid)

    def watch_ranges(self, spaces: Sequence[tuple[int, Ranges]]) -> None:
        """Processes and the ranges to monitor in each; the rest of their memory is left alone ("fvaddr")."""
        self.watch_processes([pid for pid, _ in spaces])
        for number, (_, ranges) in enumerate(spaces):
            self._write_ranges(f"{self._context}/targets/{number}", ranges)

    def watch_memory(self, ranges: Ranges) -> None:
        """The physical memory to monitor."""
        self.write(f"{self._context}/targets/nr_targets", 1)
        self._write_ranges(f"{self._context}/targets/0", ranges)

    def _write_ranges(self, target: str, ranges: Ranges) -> None:
        self.write(f"{target}/regions/nr_regions", len(ranges))
        for number, (start, end) in enumerate(ranges):
            self.write(f"{target}/regions/{number}/start", start)
            self.write(f"{target}/regions/{number}/end", end)

    def _bound_regions(self, targets: int) -> None:
        """The kernel's bounds hold for all targets together. Without shares, the first would take all regions."""
        bounds = f"{self._context}/monitoring_attrs/nr_regions"
        for name, regions in (("max", self._intervals.max_regions), ("min", self._intervals.min_regions)):
            self.write(f"{bounds}/{name}", regions * targets)

    def commit(self) -> None:
        """Make a running kdamond take the targets; waits for it, up to an aggregation."""
        self.write(self.state, "commit")

    def off(self) -> None:
        """Stop it; no error when it does not run or cannot be stopped."""
        with contextlib.suppress(OSError):
            self._root.write(self.state, "off")

    @property
    def running(self) -> bool:
        """A kdamond ends with its last target; this is False then, too."""
        return self._root.read_or(self.state) == "on"

    @property
    def pid(self) -> int:
        """Of its thread, -1 when it does not run."""
        return int(self._root.read_or(self._pid, "-1"))

    def write(self, path: str, value: object) -> None:
        """Write a file below the kdamond. Raises `UnsupportedError` when it is not there, else `PghotError`."""
        try:
            self._root.write(path, str(value))
        except FileNotFoundError:
            raise UnsupportedError(
                f"DAMON of this kernel has no {path}", "boot Linux 5.18 or later"
            ) from None
        except OSError as error:
            hint = "end who else uses DAMON" if error.errno == errno.EBUSY else "see the kernel's log"
            raise PghotError(f"DAMON: cannot write '{value}' to {path}: {error.strerror}", hint) from error
