"""Oracle, static: the pages with the most misses over the whole trace are allocated in the fast tier."""

from __future__ import annotations

import numpy as np

from pghot.policies.policy import Passive
from pghot.sim.lab_world import LabWorld


class OracleStatic(Passive[LabWorld]):
    """The best placement that never moves a page: it knows each page's total and pays nothing."""

    name = "oracle-static"
    summary = "oracle: the hottest pages of the whole trace placed fast from the start"
    kind = "oracle"
    group = "oracles"
    awaits = "knowledge of the future, which no machine has"

    def start(self, world: LabWorld) -> None:
        machine = world.machine
        misses = world.foresight.total_misses()
        order = np.argsort(-misses, kind="stable")
        machine.preferred[:] = world.slow_node
        # The hottest pages fill the fastest tier, then the next, and so on.
        for node in np.argsort(machine.rank, kind="stable"):
            room = machine.room(int(node))
            machine.preferred[order[:room]] = node
            order = order[room:]
