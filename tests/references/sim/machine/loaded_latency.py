"""The closed loop of `pghot.sim.machine.loaded_latency`, solved by plain bisection on the duration of the slice."""

from __future__ import annotations

import numpy as np

from pghot.arrays import F64
from pghot.sim.machine.curves import Curve


def points_reference(curve: Curve, reads: float, idle_ns: float, peak: float) -> tuple[F64, F64]:
    """Lines in flight and latency, ns, of the curve's points for one share of reads."""
    growth = np.array([np.interp(reads, curve.share, column) for column in curve.growth.T])
    lines = curve.load * idle_ns * peak
    lines[0] = min(1.0, 0.5 * lines[1])
    return lines, idle_ns * growth


def latency_reference(lines: F64, latency: F64, in_flight: float) -> float:
    """Latency with so many lines in flight."""
    if in_flight > lines[-1]:
        return float(latency[-1] * in_flight / lines[-1])
    return float(np.interp(in_flight, lines, latency))


def solve_reference(
    busy_ns: float, waits: float, lines: float, curve: Curve, reads: float, idle_ns: float, peak: float
) -> float:
    """Duration of a slice with one node: bisection on the lines in flight, in closed loop.

    `lines` are served in the time that a thread is busy or waits, so lines in flight = lines * latency / duration.
    """
    at, grown = points_reference(curve, reads, idle_ns, peak)
    low, high = 0.0, lines / waits
    for _ in range(200):
        middle = 0.5 * (low + high)
        latency = latency_reference(at, grown, middle)
        if lines * latency / (busy_ns + waits * latency) < middle:
            high = middle
        else:
            low = middle
    return busy_ns + waits * latency_reference(at, grown, high)
