"""Oracle, static: it knows how often each page will miss, places all pages once, and pays nothing for it."""

from __future__ import annotations

from pghot.policies.policy import Passive
from pghot.sim.lab_world import LabWorld
from pghot.sim.policies.fixed_placement import best_fixed_placement


class OracleStatic(Passive[LabWorld]):
    """The best fixed placement that a search finds: exact where latency rules, a lower bound where bandwidth does."""

    name = "oracle-static"
    summary = "oracle: the best fixed placement that a search finds; where bandwidth rules, a lower bound"
    kind = "oracle"
    group = "oracles"
    awaits = "knowledge of the future, which no machine has"

    def start(self, world: LabWorld) -> None:
        world.machine.preferred[:] = best_fixed_placement(world)
