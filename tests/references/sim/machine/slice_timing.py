"""Slow, plain version of what `pghot.sim.machine.slice_timing` does with a slice whose duration is known."""

from __future__ import annotations

from dataclasses import dataclass

from pghot.arrays import F64


@dataclass
class Means:
    """Figures of the nodes over slices: all float64[nodes]."""

    slowdown: F64
    served: F64

    def take(
        self,
        served: F64,
        latency_ns: F64,
        idle_ns: F64,
        copy_ns: F64,
        duration_ns: float,
        now_ns: float,
        mean_ns: float,
    ) -> float:
        """A slice has ended at `now_ns`; returns how long the program's copies took in it."""
        slowdown = latency_ns / idle_ns
        span_ns = max(duration_ns, min(now_ns, mean_ns))
        if span_ns > 0:
            self.slowdown = self.slowdown + (slowdown - self.slowdown) * (duration_ns / span_ns)
        self.served = self.served + served[:, :, :2].sum(axis=(0, 2))
        return float((copy_ns * slowdown).sum())
