"""Weighted interleave (mm/mempolicy.c, MPOL_WEIGHTED_INTERLEAVE): pages dealt out in proportion to bandwidth.

The weights are what the kernel would compute for `/sys/kernel/mm/mempolicy/weighted_interleave/nodeN` from
the nodes' bandwidths, 1..255, reduced to small integers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pghot.policies.policy import Passive
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.simulated import SimulatedMachine


def bandwidth_weights(bandwidth_gb_s: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Weights in proportion to bandwidth: 1 for the slowest node, at most 255.

    >>> bandwidth_weights(np.array([200.0, 26.0])).tolist()
    [8, 1]
    """
    weights: npt.NDArray[np.int64] = np.round(bandwidth_gb_s / bandwidth_gb_s.min()).astype(np.int64)
    return np.clip(weights, 1, 255)


class Interleave(Passive[LabWorld]):
    """Deals pages out in index order: `weight` pages to a node, then on to the next node."""

    name = "interleave"
    summary = "weighted interleave by bandwidth, no moves"

    def start(self, world: LabWorld) -> None:
        deal_out(world.machine)


def deal_out(machine: SimulatedMachine) -> None:
    """Set every page's preferred node: `weight` pages to a node, then on to the next node, round and round."""
    bandwidth = np.array([node.bandwidth_gb_s for node in machine.topology.nodes])
    pattern = np.repeat(np.arange(len(bandwidth)), bandwidth_weights(bandwidth))
    machine.preferred[:] = np.resize(pattern, machine.pages)
