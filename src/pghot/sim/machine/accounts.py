"""The accounts of a simulated machine: how busy each kernel thread is, and the totals of the run."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pghot.arrays import F64
from pghot.sim.machine.movers import ONE_THREAD, Copying


@dataclass(slots=True)
class KernelThread:
    """A kernel thread on a core of its own: busy until `free_at_ns` on the machine's clock.

    copying     float64[nodes]  bytes that its work has yet to read from or write to each node
    used_ns     CPU time, with that of other CPUs that copy for it
    copying_by  how it has pages copied
    """

    copying: F64
    free_at_ns: float = 0.0
    used_ns: float = 0.0
    at_work: bool = False  # since it last had nothing left to copy
    copying_by: Copying = ONE_THREAD

    def budget_ns(self, now_ns: float, until_ns: float) -> float:
        """How much work it can still start and finish by `until_ns`."""
        return max(0.0, until_ns - max(self.free_at_ns, now_ns))

    def run(self, now_ns: float, lasts_ns: float, cpu_ns: float | None = None) -> None:
        """Work for so long. cpu_ns: the CPU time that it takes, if that is another one."""
        self.free_at_ns = max(self.free_at_ns, now_ns) + lasts_ns
        self.used_ns += lasts_ns if cpu_ns is None else cpu_ns
        self.at_work = True

    def copy(self, now_ns: float, span_ns: float, moving_bytes: F64) -> None:
        """Copy for `span_ns`: add that part of the bytes to `moving_bytes`, float64[nodes].

        They flow evenly until the thread is free, so that no slice has to carry the copies of a longer time.
        """
        if not self.at_work:
            return
        left_ns = self.free_at_ns - now_ns
        self.at_work = left_ns > span_ns
        part = self.copying if left_ns <= span_ns else self.copying * (span_ns / left_ns)
        moving_bytes += part
        self.copying = self.copying - part


@dataclass(slots=True)
class Ledger:
    """Running totals of a simulated machine. Times in ns; those that the program pays are summed over its threads."""

    elapsed_ns: float = 0.0
    compute_ns: float = 0.0
    tracking_app_ns: float = 0.0
    moving_app_ns: float = 0.0
    tracking_kernel_ns: float = 0.0
    promoted: int = 0
    demoted: int = 0
    exchanged_bytes: int = 0
    pingpong: int = 0
    served: F64 = field(default_factory=lambda: np.zeros(0))  # misses by node
