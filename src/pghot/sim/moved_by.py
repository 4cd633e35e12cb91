"""A policy whose pages are moved by a mover of the user's choice (`--movers`) in place of its own.

The policy decides as ever: what it hears, when it acts, which pages it wants where. What it asks its machine to move
is moved by the mover. kswapd, direct reclaim and the device that compresses go on as they are.

`fault`: the program's threads move, page by page. Where hint faults are all that a policy hears, the fault that makes
a page hot promotes it: then no TLB has an entry of it. All else a thread does between two instructions (task work), and
flushes each page from all TLBs. When the policy looks at what it heard stays its own affair: pghot does every 100 ms.

The others: a kernel thread for each node, of which one moves what leaves that node, in batches. Each starts no more in
a slice than it can do until the next. What it cannot start is dropped and counted as "busy"; the policy has to see such
a page again.

Not modelled: that another thread which touches a page on its way waits for it, up to 12 us (FACTS 8).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from pghot.arrays import NOWHERE, U32
from pghot.engine.accesses import Accesses, Source
from pghot.policies.decisions import Decisions, HeldBack
from pghot.policies.machine import Moves
from pghot.policies.policy import Policy
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.move_costs import HINT_FAULT, TASK_WORK
from pghot.sim.machine.movers import Copying, Mover
from pghot.sim.machine.simulated import SimulatedMachine

_NONE = np.empty(0, np.uint32)


class _MovingMachine:
    """The machine behind it, in all but who moves what a policy asks for."""

    def __init__(self, machine: SimulatedMachine) -> None:
        self.__dict__["machine"] = machine

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["machine"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["machine"], name, value)


class ProcessContext(_MovingMachine):
    """The program's own threads move; if `in_fault`, they promote in hint faults."""

    def __init__(self, machine: SimulatedMachine, in_fault: bool) -> None:
        super().__init__(machine)
        self.__dict__["promotes_as"] = HINT_FAULT if in_fault else TASK_WORK

    def pages_in_budget(self, thread: str, sleep_ns: float = 0.0) -> int:
        """What all threads of the program could move if they did nothing else."""
        machine: SimulatedMachine = self.machine
        page_ns = machine.move_costs.program_ns(self.promotes_as, machine.timing.worst_slowdown())
        return math.ceil(max(machine.slice_ns, sleep_ns) * machine.threads / page_ns)

    def migrate(self, page: U32, target: int, payer: str, batch_pages: int = 512) -> Moves:
        """See `Machine.migrate`."""
        machine: SimulatedMachine = self.machine
        promoting = self.promotes_as if not machine.lower[target] else TASK_WORK
        return machine.migrate(page, target, HINT_FAULT if payer == HINT_FAULT else promoting, batch_pages)

    def demote(self, page: U32, node: int, thread: str) -> int:
        """See `Machine.demote`."""
        machine: SimulatedMachine = self.machine
        return machine.demote(page, node, HINT_FAULT if thread == HINT_FAULT else TASK_WORK)


class MoverThreads(_MovingMachine):
    """A kernel thread for each node moves what leaves it."""

    def __init__(self, machine: SimulatedMachine, copying: Copying, decisions: Decisions) -> None:
        super().__init__(machine)
        self.__dict__.update(decisions=decisions, sleep_ns=0.0)
        for node in range(len(machine.lower)):
            machine.thread(mover_thread(node)).copying_by = copying

    def pages_in_budget(self, thread: str, sleep_ns: float = 0.0) -> int:
        """What the threads of the lower tiers can start now, all together."""
        self.__dict__["sleep_ns"] = sleep_ns
        return sum(self._able(int(node)) for node in np.flatnonzero(self.machine.lower))

    def migrate(self, page: U32, target: int, payer: str, batch_pages: int = 512) -> Moves:
        """See `Machine.migrate`. What a thread has no time for is neither moved nor failed."""
        done = [
            self.machine.migrate(part, target, mover_thread(node), batch_pages)
            for node, part in self._in_time(page, target)
        ]
        return Moves(
            np.concatenate([_NONE, *(moves.moved for moves in done)]),
            np.concatenate([_NONE, *(moves.failed for moves in done)]),
        )

    def demote(self, page: U32, node: int, thread: str) -> int:
        """See `Machine.demote`."""
        return sum(self.machine.demote(part, node, mover_thread(node)) for _, part in self._in_time(page))

    def _in_time(self, page: U32, target: int = NOWHERE) -> Iterator[tuple[int, U32]]:
        """The nodes that the pages leave, and those for which the node's thread has time. The others are dropped."""
        place = self.machine.place[page]
        for node in np.unique(place[(place != NOWHERE) & (place != target)]).tolist():
            part = page[place == node]
            able = self._able(node)
            self.decisions.hold(part[able:], HeldBack.BUSY)
            if able:
                yield node, part[:able]

    def _able(self, node: int) -> int:
        machine: SimulatedMachine = self.machine
        return machine.pages_in_budget(mover_thread(node), self.sleep_ns)


def mover_thread(node: int) -> str:
    """The name of the thread that moves what leaves a node."""
    return f"mover{node}"


class MovedBy:
    """The policy, its pages moved by `mover`."""

    def __init__(
        self, policy: Policy[LabWorld], mover: Mover, sources: Sequence[Source | type[Source]]
    ) -> None:
        """sources: all that it listens to"""
        self._policy, self._mover = policy, mover
        self._in_fault = bool(sources) and all(source.mechanism == "hint fault" for source in sources)
        self.name, self.summary, self.kind = policy.name, policy.summary, policy.kind
        self.default_sources, self.any_source = policy.default_sources, policy.any_source
        self.runs_live = policy.runs_live

    def start(self, world: LabWorld) -> None:
        copying = self._mover.copying
        machine = (
            ProcessContext(world.machine, self._in_fault)
            if copying is None
            else MoverThreads(world.machine, copying, world.decisions)
        )
        self._world = replace(world, machine=cast(SimulatedMachine, machine))
        self._policy.start(self._world)

    def observe(self, world: LabWorld, source: Source, accesses: Accesses) -> None:
        self._policy.observe(self._world, source, accesses)

    def act(self, world: LabWorld) -> None:
        self._world.epoch_ended = world.epoch_ended
        self._policy.act(self._world)

    def tracker_bytes(self) -> int:
        return self._policy.tracker_bytes()

    def counters(self) -> dict[str, int]:
        return self._policy.counters()
