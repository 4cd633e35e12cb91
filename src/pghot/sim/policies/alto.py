"""Alto (OSDI 2025, "Tiered Memory Management Beyond Hotness"): a gate in front of another policy's promotions.

Once a second it measures the amortised offcore latency of the program: how long a core has a demand read outstanding,
for each such read. That is latency over memory-level parallelism. Where it is short, the latency of the slow tier is
hidden, and promotion does not repay: at 40 cycles none passes, above 100 all do, and between them a part in steps
(algorithm 2; the steps are those of its code for TPP, set_migrate_scale.py). The thresholds are cycles of the paper's
Skylake, of 2.2 GHz (est.: the clock of CloudLab's machines of 2 x 10 cores).

The gate knows nothing of the policy behind it. To put it in front of another one takes a class of a few lines here.

Not modelled: with NUMA balancing the paper's Alto marks fewer pages for hint faults, so that faults get fewer as well;
here the promotions do. Which ones pass is not published: here they are spread evenly.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import replace
from typing import Annotated, Any, ClassVar, cast

import numpy as np

from pghot.arrays import U32
from pghot.engine.accesses import Accesses, Source
from pghot.parameters import Knob, check_knobs
from pghot.policies.decisions import Decisions, HeldBack
from pghot.policies.machine import Moves
from pghot.policies.policy import Policy
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.policies.colloid import HeMemColloid
from pghot.sim.policies.numab2 import NumaBalancing2
from pghot.sim.policies.tpp import Tpp

PERIOD_MS = 1000.0
# Up to so many cycles of amortised latency, so many of ten promotions pass; above the last all do.
STEPS = ((40.0, 0), (60.0, 1), (80.0, 3), (100.0, 5))


def passing(cycles: float) -> int:
    """How many of ten promotions pass.

    >>> [passing(cycles) for cycles in (40, 41, 80, 100, 101)]
    [0, 1, 3, 5, 10]
    """
    return next((tenths for up_to, tenths in STEPS if cycles <= up_to), 10)


class GatedMachine:
    """A machine that lets only a part of the promotions through; in all else it is the machine behind it."""

    def __init__(self, machine: SimulatedMachine, decisions: Decisions) -> None:
        self.__dict__.update(machine=machine, decisions=decisions, tenths=10, due=0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["machine"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["machine"], name, value)

    def gate(self, tenths: int) -> None:
        """Let so many of ten promotions pass from now on."""
        self.__dict__["tenths"] = tenths

    def migrate(self, page: U32, target: int, payer: str, batch_pages: int = 512) -> Moves:
        """See `Machine.migrate`. What the gate refuses is neither moved nor failed."""
        if not self.machine.lower[target]:
            due = self.due + self.tenths * np.arange(len(page) + 1)  # tenths of promotions
            self.__dict__["due"] = int(due[-1]) % 10
            passes = np.diff(due // 10) > 0
            self.decisions.hold(page[~passes], HeldBack.RATE)
            page = page[passes]
        return cast(Moves, self.machine.migrate(page, target, payer, batch_pages))


class Alto(ABC):
    """The gate in front of the policy `over`.

    ghz  clock of the CPUs whose cycles the thresholds are in
    """

    name: str
    over: ClassVar[type[Policy[Any]]]
    kind = "mover"
    any_source = False
    runs_live = False

    def __init__(self, ghz: Annotated[float, Knob(0.1, 100)] = 2.2) -> None:
        check_knobs(self.name, type(self), locals())
        self.ghz = ghz
        self.policy = self.over()

    def start(self, world: LabWorld) -> None:
        self._gated = GatedMachine(world.machine, world.decisions)
        self._world = replace(world, machine=cast(SimulatedMachine, self._gated))
        self._waits_ns = self._reads = 0.0
        self._next_ms = PERIOD_MS
        self.policy.start(self._world)

    def observe(self, world: LabWorld, source: Source, accesses: Accesses) -> None:
        self.policy.observe(self._world, source, accesses)

    def act(self, world: LabWorld) -> None:
        waits_ns, reads = world.machine.timing.offcore()
        self._waits_ns += waits_ns
        self._reads += reads
        if world.now_ms >= self._next_ms:
            self._next_ms = world.now_ms + PERIOD_MS
            if self._reads:
                self._gated.gate(passing(self._waits_ns / self._reads * self.ghz))
            self._waits_ns = self._reads = 0.0
        self.policy.act(self._world)

    def tracker_bytes(self) -> int:
        return self.policy.tracker_bytes()

    def counters(self) -> dict[str, int]:
        return self.policy.counters()


class AltoNumaBalancing2(Alto):
    """In front of kernel NUMA balancing mode 2."""

    name = "alto-numab2"
    summary = "Alto's gate in front of numab2: no promotions while memory-level parallelism hides the latency"
    over = NumaBalancing2
    moves_in_fault = True
    default_sources = NumaBalancing2.default_sources
    awaits = "Alto's patch, and its daemon that reads the counters"


class AltoTpp(Alto):
    """In front of TPP."""

    name = "alto-tpp"
    summary = "Alto's gate in front of tpp"
    over = Tpp
    moves_in_fault = True
    default_sources = Tpp.default_sources
    awaits = "the patches of TPP and Alto"


class AltoColloid(Alto):
    """In front of HeMem with Colloid. The paper has it in front of TPP with Colloid."""

    name = "alto-hemem-colloid"
    summary = "Alto's gate in front of hemem-colloid"
    over = HeMemColloid
    default_sources = HeMemColloid.default_sources
    demotes = True
    granularity_bytes = HeMemColloid.granularity_bytes
    period_events = HeMemColloid.period_events
    awaits = "the patches of HeMem, Colloid and Alto"
