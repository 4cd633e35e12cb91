"""How large the simulated nodes are, and how much faster the kernel's clock runs on so small a machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pghot.arrays import I64
from pghot.errors import UsageError
from pghot.sim.machine.topology import Topology
from pghot.units import format_share

# The fastest mechanism that must still be resolved is the 1000 ms hot threshold of a hint fault; it should
# span at least this many slices.
SLICES_PER_THRESHOLD = 5
HOT_THRESHOLD_MS = 1000.0
MAX_SCALE = 1e6  # a slice of 1 ms is then 1000 s of the kernel's


@dataclass(frozen=True, slots=True)
class Sizing:
    """capacity_pages int64[nodes]; shrink = real capacity of the top tier / simulated capacity, at least 1."""

    capacity_pages: I64
    shrink: float


def size_nodes(topology: Topology, footprint_pages: int, page_bytes: int, fast_share: float | None) -> Sizing:
    """Capacities in pages.

    fast_share  share of the footprint that the top tier holds; the other tiers shrink in proportion and the
                lowest always holds the whole footprint. None: capacities as in the tiers file.
    Raises `UsageError` for a share of 0 or 1: those are bounds, not sizes.
    """
    real = np.array([node.capacity for node in topology.nodes], np.int64) // page_bytes
    if fast_share is None:
        return Sizing(real, 1.0)
    if not 0 < fast_share < 1:
        other = "all-slow" if fast_share == 0 else "all-fast"
        raise UsageError(
            f"a fast share of {format_share(fast_share)} leaves nothing to decide",
            f"give a share between the two, or read the '{other}' row of the table",
        )
    top = list(topology.top_nodes())
    rank = np.array(topology.ranks())
    shrink = real[top].sum() / max(1.0, fast_share * footprint_pages)
    pages = np.maximum(1, np.round(real / shrink)).astype(np.int64)
    lowest = np.flatnonzero(rank == rank.max())
    # Room for the footprint and for the reserve below the watermark.
    needed = int(np.ceil(footprint_pages * 1.1)) + 16
    pages[lowest] = np.maximum(pages[lowest], -(-needed // len(lowest)))
    return Sizing(pages, max(1.0, float(shrink)))


@dataclass(frozen=True, slots=True)
class TimeScale:
    """factor: how much faster kernel time runs; note: the sentence that every table prints."""

    factor: float
    note: str


def choose_time_scale(requested: float | None, shrink: float, slice_ns: int) -> TimeScale:
    """`requested`, or how many times smaller the machine is, as far as the slices still resolve the mechanisms."""
    if requested is not None:
        if not 1 <= requested <= MAX_SCALE:
            raise UsageError(
                f"kernel time cannot run {requested:g} times faster (--scale-time)",
                f"give 1 to {MAX_SCALE:g}, or 'auto'",
            )
        return TimeScale(requested, f"kernel periods and byte quantities divided by {requested:g}, as asked")
    resolved = max(1.0, HOT_THRESHOLD_MS / (SLICES_PER_THRESHOLD * slice_ns / 1e6))
    factor = round(min(shrink, resolved), 2)
    if factor == 1:
        return TimeScale(1.0, "kernel periods as published (--scale-time 1)")
    note = (
        f"kernel periods and byte quantities divided by {factor:g} (--scale-time): the simulated machine is "
        f"{shrink:.4g} times smaller than its tiers file"
    )
    if resolved < shrink:
        note += f", and slices of {slice_ns / 1e6:g} ms allow no faster clock"
    return TimeScale(factor, note)
