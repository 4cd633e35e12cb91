"""Equilibria-like fair shares of the top tier (arXiv 2602.08800, February 2026), as far as its first patches show them.

Each process of the recording is a tenant. Kernel mode 2 promotes; two rules are added. Reclaim of the top tier spares
tenants within their protection (`machine.local_low`). And while the top tier has less free than the promotion
watermark, tenants over their protection are scanned less: the scan size is multiplied by (protected / used)^4, and is
never less than a sixteenth of it.

Read: of the paper the abstract, and the patches that its first author sent before it, "memory tiering fairness by
per-cgroup control of promotion and demotion" (RFC, 20 September 2024; patch 4, task_numa_work()). Not in them and not
modelled: the paper's upper bound, its suppression of thrashing, and shares that differ.

Ours: where a tenant is scanned less, only so large a share of its faults is heeded, drawn at random. What the others
cost the program is counted all the same. The watermark is that of the node nearest to the CPU that faulted; the patches
look at node 0.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from pghot.arrays import F64
from pghot.engine.accesses import Accesses, Source
from pghot.parameters import Knob, check_knobs
from pghot.policies.decisions import HeldBack
from pghot.recording.trace import pages_by_space
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.local_low import LocalLow
from pghot.sim.policies.numab2 import NumaBalancing2

POWER = 4  # of protected / used
LEAST_SCAN = 1 / 16  # min_scan_pages_fraction


class Equilibria:
    """Mode 2 with a share of the top tier for each process.

    low         memory.low of each process, as a share of its memory
    least_scan  a process is scanned at least by this share of the scan size
    """

    name = "equilibria"
    summary = "Equilibria-like: kernel mode 2, where each process is sure of its share of the top tier"
    kind = "mover"
    default_sources: tuple[str, ...] = ("hintfaults",)
    any_source = False
    runs_live = False
    moves_in_fault = True
    awaits = "Equilibria's patches: in released kernels memory.low protects no place in a tier"

    def __init__(
        self,
        low: Annotated[float, Knob(0, 1, 0.0, 1.0)] = 1.0,
        least_scan: Annotated[float, Knob(0, 1, 1 / 256, 1.0)] = LEAST_SCAN,
    ) -> None:
        check_knobs(self.name, type(self), locals())
        self.low, self.least_scan = low, least_scan

    def start(self, world: LabWorld) -> None:
        self._kernel = NumaBalancing2()
        self._kernel.start(world)
        tenant = np.zeros(world.pages, np.uint16)
        for number, page in enumerate(pages_by_space(world.regions, world.pages)):
            tenant[page] = number
        self._shares = world.machine.local_low = LocalLow(world.machine, tenant, self.low)
        self._rng = np.random.default_rng(world.seed)

    def observe(self, world: LabWorld, source: Source, accesses: Accesses) -> None:
        machine = world.machine
        nearest = np.array([targets[0] for targets in machine.promotion_targets])
        promo = (
            2 * machine.high_pages - machine.low_pages
        )  # WMARK_PROMO is as far above high as high is above low
        pressed = (machine.free_pages < promo)[nearest[accesses.node]]
        share = np.where(pressed, self._scanned(world)[self._shares.tenant[accesses.page]], 1.0)
        scanned = self._rng.random(len(accesses)) < share
        world.decisions.hold(accesses.page[~scanned], HeldBack.RATE)
        self._kernel.observe(world, source, accesses.only(scanned))

    def _scanned(self, world: LabWorld) -> F64:
        """float64[tenants]: the share of the scan size that each is left with when the top tier is short."""
        used = self._shares.used(world.machine)
        by_overage = (self._shares.protected / (used + 1 / world.group_pages)) ** POWER
        return np.where(used > self._shares.protected, np.maximum(by_overage, self.least_scan), 1.0)

    def act(self, world: LabWorld) -> None:
        self._kernel.act(world)

    def tracker_bytes(self) -> int:
        """0: the kernel counts the memory of each cgroup anyway."""
        return 0

    def counters(self) -> dict[str, int]:
        return self._kernel.counters()
