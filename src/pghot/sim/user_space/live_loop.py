"""`pghot run` on a released kernel, as the lab simulates it: a policy in rounds, fed from rings, moving by move_pages.

It is to the lab what `live/loop.py` is to a Linux machine. Whatever sources see between two rounds waits in their
rings. A round begins 100 ms after the last one did, or when that one is over. What walks page tables is part of a
round, which goes on with what the walk found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pghot.engine.accesses import Accesses, Source
from pghot.engine.engine import total
from pghot.policies.decisions import HeldBack
from pghot.policies.granularity import granularity_of
from pghot.policies.live_rules import (
    FAST_FAULT,
    FAULT_HOT_MS,
    INTERVAL_MS,
    SLOW_FAULT,
    unseen_is_cold,
)
from pghot.policies.policy import Policy, World
from pghot.sim.lab_world import LabWorld
from pghot.sim.user_space.user_space_machine import STATE_BYTES, UserSpaceMachine

# Ring, Python and NumPy, all in, for one sample; measured with the live loop (docs/FACTS.md 8).
SAMPLE_NS = 240.0


class LiveLoop:
    """A policy that runs live with these sources, run by pghot in user space."""

    def __init__(self, policy: Policy[Any], sources: Sequence[Source | type[Source]]) -> None:
        self._policy, self._sources = policy, sources
        self.name, self.summary, self.kind = policy.name, policy.summary, policy.kind
        self.default_sources, self.any_source = policy.default_sources, policy.any_source
        self.runs_live = policy.runs_live

    def start(self, world: LabWorld) -> None:
        world.machine.demotion_enabled = False  # as a kernel boots, and pghot leaves it so
        self._machine = UserSpaceMachine(
            world.machine,
            world.page_bytes,
            world.group_pages,
            unseen_is_cold=unseen_is_cold(self._sources),
        )
        self._world = World(
            self._machine,
            world.pages,
            world.page_bytes,
            world.group_pages,
            world.seed,
            decisions=world.decisions,
        )
        # Sources report the samples of a whole unit of the policy where one page stands for many (`SourceSettings`).
        unit = granularity_of(type(self._policy)) / world.page_bytes
        self._unit_pages = min(world.group_pages, max(1.0, unit))
        self._policy.start(self._world)
        self._heard: list[tuple[Source, Accesses]] = []
        self._next_ms = float(INTERVAL_MS)

    def observe(self, world: LabWorld, source: Source, accesses: Accesses) -> None:
        self._heard.append((source, accesses))

    def act(self, world: LabWorld) -> None:
        if world.now_ms < self._next_ms:
            return
        walked = any(not source.inline for source, _ in self._heard)
        if self._machine.busy and not walked:
            world.decisions.rest(HeldBack.BUSY)
            return
        self._next_ms = world.now_ms + INTERVAL_MS
        self._machine.tick()
        for source, accesses in self._heard:
            self._take(source, accesses)
        self._heard.clear()
        self._policy.act(self._world)

    def _take(self, source: Source, accesses: Accesses) -> None:
        """Hand over what one source saw in one slice, with the time of the round."""
        count = accesses.count
        samples = total(count) / self._unit_pages
        if accesses.hint_fault and accesses.latency_ms is not None:
            # A fast fault counts more. The live loop estimates the latency that the kernel knows.
            count = np.where(accesses.latency_ms <= FAULT_HOT_MS, FAST_FAULT, SLOW_FAULT).astype(np.uint32)
        self._machine.saw(accesses.page, samples, SAMPLE_NS)
        seen = Accesses(accesses.page, accesses.node, count, int(self._world.now_ms), accesses.hint_fault)
        self._policy.observe(self._world, source, seen)

    def tracker_bytes(self) -> int:
        return self._policy.tracker_bytes() + STATE_BYTES * self._world.pages

    def counters(self) -> dict[str, int]:
        return self._policy.counters()
