"""Lower bound: the whole program in the lowest tier, whatever its capacity."""

from __future__ import annotations

import numpy as np

from pghot.policies.policy import Passive
from pghot.sim.lab_world import LabWorld


class AllSlow(Passive[LabWorld]):
    """What the program would cost without any fast memory."""

    name = "all-slow"
    summary = "bound: everything in the lowest tier, capacity ignored"
    kind = "bound"
    group = "bounds"

    def start(self, world: LabWorld) -> None:
        machine = world.machine
        # A compressed node takes no allocations. The bound is then the lowest tier that does.
        public = np.flatnonzero(~machine.private)
        node = int(public[np.argmax(machine.rank[public])])
        machine.set_capacity(node, int(machine.capacity_pages[node]) + 2 * world.pages)
        machine.preferred[:] = node
