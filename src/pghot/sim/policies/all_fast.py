"""Upper bound: the whole program in the top tier, whatever its capacity."""

from __future__ import annotations

from pghot.policies.policy import Passive
from pghot.sim.lab_world import LabWorld


class AllFast(Passive[LabWorld]):
    """The baseline of every slowdown."""

    name = "all-fast"
    summary = "bound: everything in the top tier, capacity ignored"
    kind = "bound"
    group = "bounds"

    def start(self, world: LabWorld) -> None:
        machine = world.machine
        machine.preferred[:] = -1  # overrides --placement
        for node in machine.top_nodes:
            machine.set_capacity(node, int(machine.capacity_pages[node]) + 2 * world.pages)
        if (
            len(machine.top_nodes) == 1
        ):  # with several sockets, a page's first choice is its toucher's node anyway
            machine.preferred[:] = world.fast_node
