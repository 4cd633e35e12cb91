"""Lower bound: the whole program in the lowest tier, whatever its capacity."""

from __future__ import annotations

from pghot.policies.policy import Passive, World


class AllSlow(Passive):
    """What the program would cost without any fast memory."""

    name = "all-slow"
    summary = "bound: everything in the lowest tier, capacity ignored"
    kind = "bound"

    def start(self, world: World) -> None:
        machine = world.simulated
        machine.set_capacity(world.slow_node, int(machine.capacity_pages[world.slow_node]) + 2 * world.pages)
        machine.preferred[:] = world.slow_node
