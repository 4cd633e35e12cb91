"""The probe: one pass under `none`, to learn how long each recorded slice takes the real system."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pghot.arrays import F64
from pghot.lab.epochs import Epochs
from pghot.sim.machine.simulated import SimulatedMachine


@dataclass(frozen=True, slots=True)
class Probe:
    """What one pass takes when nothing moves.

    slice_kernel_ms  float64[slices]  real time of each recorded slice
    used_share       float64[nodes]   share of its bandwidth that each node had in use, on average over that time
    """

    slice_kernel_ms: F64
    used_share: F64


def probe(machine: SimulatedMachine, table: Epochs) -> Probe:
    """Play one pass on a fresh machine that moves nothing."""
    lasted = np.empty(table.slices)
    used = np.zeros(len(machine.free_pages))
    position = 0
    for batch in table.batches():
        for index in range(batch.slices):
            rows = slice(batch.offsets[index], batch.offsets[index + 1])
            lasted[position] = machine.run_slice(
                batch.page[rows], batch.touches[rows], batch.misses[rows], batch.sequential[rows],
                batch.writes[rows], batch.node[rows], int(batch.instructions[index]),
            )  # fmt: skip
            used += machine.used_share * lasted[position]
            position += 1
    return Probe(lasted * machine.group_pages / 1e6, used / max(float(lasted.sum()), 1e-9))
