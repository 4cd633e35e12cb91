"""A policy on a small machine, fed by hand: what it decides on a handful of pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pghot.engine.accesses import Accesses
from pghot.policies.policy import Policy
from pghot.recording.trace import Region
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import load_topology
from pghot.sim.policies import POLICIES
from pghot.sim.sources.hintfaults import HintFaults
from pghot.sim.sources.pebs import Pebs

MS = 1e6  # ns


class Bed:
    """1,000 pages: the first 100 on a fast node of 100 pages, which is full, the others below. No demotion.

    group_pages  real pages that each stands for; times are the kernel's
    """

    def __init__(
        self,
        policy: str,
        room: int = 0,
        group_pages: float = 1.0,
        regions: Sequence[Region] = (),
        **options: Any,
    ) -> None:
        self._ms = MS / group_pages
        self.machine = machine = SimulatedMachine(
            load_topology("dram-cxl"), 1_000, 4096, np.array([100 + room + 1, 2_000]), 1,
            group_pages=group_pages,
        )  # fmt: skip
        machine.place[:] = 1
        machine.place[:100] = 0
        machine.free_pages[:] = [room + 1, 1_000]  # one page is the reserve
        machine.slice_ns = 1_000 * MS  # a budget of time for the threads
        self.policy: Policy[LabWorld] = POLICIES.make(policy, **options)
        self.world = LabWorld(machine, 1_000, 4096, group_pages, 0, None, regions)  # type: ignore[arg-type]
        self.policy.start(self.world)
        machine.demotion_enabled = False

    def see(self, at_ms: int, *page: int, latency_ms: int | None = None, count: int = 1) -> None:
        ones = np.ones(len(page), np.uint32)
        faults = latency_ms is not None
        seen = Accesses(
            np.array(page, np.uint32), np.zeros(len(page), np.int16), ones * np.uint32(count), at_ms, faults,
            ones * np.uint32(latency_ms or 0) if faults else None,
        )  # fmt: skip
        self.machine.now_ns = at_ms * self._ms
        self.policy.observe(self.world, HintFaults if faults else Pebs, seen)

    def act(self, at_ms: float) -> dict[str, int]:
        self.machine.now_ns = at_ms * self._ms
        self.policy.act(self.world)
        return self.world.decisions.held_back()
