"""DAMON through sysfs (mm/damon/sysfs.c, Documentation/admin-guide/mm/damon/usage.rst): one kdamond of our own.

A kdamond of somebody else is never touched: `create` refuses while any exists, since the number of kdamonds is one knob
for all. Linux 7.x runs one at boot that sysfs does not show (DAMON_STAT); it makes `on` fail with EBUSY.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pghot.errors import PghotError, UnsupportedError
from pghot.kernel.needs import Need
from pghot.kernel.sysroot import SysRoot

KDAMONDS = "/sys/kernel/mm/damon/admin/kdamonds"
NUMBER = f"{KDAMONDS}/nr_kdamonds"
_KDAMOND = f"{KDAMONDS}/0"
STATE = f"{_KDAMOND}/state"
_CONTEXT = f"{_KDAMOND}/contexts/0"
_SCHEME = f"{_CONTEXT}/schemes/0"
# In-kernel users of DAMON (mm/damon/{stat,lru_sort,reclaim}.c) that hold the one running slot.
_MODULES = ("damon_stat", "damon_lru_sort", "damon_reclaim")


@dataclass(frozen=True, slots=True)
class Intervals:
    """Times in microseconds and the bounds of the number of regions."""

    sample_us: int = 5_000
    aggregate_us: int = 100_000
    update_us: int = 1_000_000
    min_regions: int = 10
    max_regions: int = 1000


@dataclass(frozen=True, slots=True)
class Regions:
    """What DAMON found.

    start, end  uint64[K]  bytes
    accesses    uint32[K]  samples of the last aggregation in which the region was accessed
    age         uint32[K]  aggregations for which it has been about so
    """

    start: npt.NDArray[np.uint64]
    end: npt.NDArray[np.uint64]
    accesses: npt.NDArray[np.uint32]
    age: npt.NDArray[np.uint32]


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
    """Our kdamond: monitors the address spaces of processes, or physical memory."""

    def __init__(self, root: SysRoot, operations: str, intervals: Intervals) -> None:
        self._root, self._operations, self._intervals = root, operations, intervals

    def configure(self) -> None:
        """Fill in the directory of a kdamond that was just created. Raises as `_write`."""
        times = self._intervals
        self._write(f"{_KDAMOND}/contexts/nr_contexts", 1)
        available = self._root.read_or(f"{_CONTEXT}/avail_operations").split()
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
        self._write(f"{attributes}/nr_regions/max", times.max_regions)
        self._write(f"{attributes}/nr_regions/min", times.min_regions)
        self._write(f"{_CONTEXT}/schemes/nr_schemes", 1)
        # The action "stat" does nothing but makes every region that fits the pattern readable.
        self._write(f"{_SCHEME}/action", "stat")
        pattern = f"{_SCHEME}/access_pattern"
        for name, low, high in (("sz", 0, 2**63), ("nr_accesses", 1, 2**31), ("age", 0, 2**31)):
            self._write(f"{pattern}/{name}/max", high)
            self._write(f"{pattern}/{name}/min", low)

    def watch(self, pids: Sequence[int]) -> None:
        """The processes to monitor; none for physical memory."""
        targets = f"{_CONTEXT}/targets"
        self._write(f"{targets}/nr_targets", len(pids) or 1)
        for number, pid in enumerate(pids):
            self._write(f"{targets}/{number}/pid_target", pid)

    def commit(self) -> None:
        """Make a running kdamond take the targets."""
        self._write(STATE, "commit")

    def regions(self) -> list[Regions]:
        """The accessed regions of each target as of the last aggregation."""
        self._write(STATE, "update_schemes_tried_regions")
        tried = f"{_SCHEME}/tried_regions"
        rows = []
        for name in self._root.list(tried):
            if name.isdigit():
                one = f"{tried}/{name}"
                rows.append(
                    [int(self._root.read(f"{one}/{key}")) for key in ("start", "end", "nr_accesses", "age")]
                )
        table = np.array(rows, np.uint64).reshape(-1, 4)
        return [
            Regions(table[:, 0], table[:, 1], table[:, 2].astype(np.uint32), table[:, 3].astype(np.uint32))
        ]

    def _write(self, path: str, value: object) -> None:
        try:
            self._root.write(path, str(value))
        except FileNotFoundError:
            raise UnsupportedError(f"no {path}", "this kernel's DAMON is too old; Linux 6.2 has it") from None
        except OSError as error:
            hint = "somebody else uses DAMON" if error.errno == errno.EBUSY else "see the kernel's log"
            raise PghotError(f"DAMON: cannot write '{value}' to {path}: {error.strerror}", hint) from error
