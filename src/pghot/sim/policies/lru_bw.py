"""Bandwidth-aware LRU, as the mailing-list thread asked for (FACTS 7).

Each second, if the fast tier has bandwidth to spare and the slow one is busy, it promotes a chunk of the slow tier's
youngest generation. When space is short, it first demotes a chunk of the fast tier's oldest. It needs no record for
each page, only the generations that reclaim keeps anyway.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from pghot.carry import Carry
from pghot.engine.accesses import Accesses, Source
from pghot.parameters import MOST, Knob, check_knobs, check_number
from pghot.policies.decisions import HeldBack, Moved
from pghot.sim.lab_world import LabWorld

MIB = 1 << 20


class LruBandwidth:
    """Chunks adapt between 8 and 64 MiB. Three periods in a row with demotions >= promotions halve them."""

    name = "lru-bw"
    summary = "promote chunks of the youngest generation while the fast tier has bandwidth to spare"
    kind = "mover"
    default_sources: tuple[str, ...] = ()
    any_source = False
    runs_live = False
    demotes = True
    awaits = "a patch that was asked for and not yet written"

    def __init__(
        self,
        period_ms: Annotated[float, Knob(1, MOST, 100, 10_000)] = 1000.0,
        fast_below: Annotated[float, Knob(0, MOST, 0.3, 1)] = 0.8,
        slow_above: Annotated[float, Knob(0, MOST, 0.01, 0.9)] = 0.3,
        chunk_min_mib: Annotated[float, Knob(1 / 256, 1 << 20, 1, 32)] = 8.0,
        chunk_max_mib: Annotated[float, Knob(1 / 256, 1 << 20, 32, 1024)] = 64.0,
    ) -> None:
        check_knobs(self.name, type(self), locals())
        check_number(self.name, "chunk_max_mib", chunk_max_mib, chunk_min_mib, 1 << 20)
        self.period_ms, self.fast_below, self.slow_above = period_ms, fast_below, slow_above
        self.chunk_min_mib, self.chunk_max_mib = chunk_min_mib, chunk_max_mib

    def start(self, world: LabWorld) -> None:
        world.machine.demotion_enabled = False  # this policy demotes by itself
        self._chunk_mib = self.chunk_min_mib
        self._granted = Carry()
        self._next_ms = self.period_ms
        self._losing_periods = 0
        self._used_ns = np.zeros(len(world.machine.free_pages))
        self._span_ns = 0.0

    def observe(self, world: LabWorld, source: Source, accesses: Accesses) -> None:
        """Listens to no source: the generations are all it needs."""

    def act(self, world: LabWorld) -> None:
        machine = world.machine
        self._used_ns += machine.used_share * machine.slice_ns
        self._span_ns += machine.slice_ns
        if world.now_ms < self._next_ms:
            return
        self._next_ms = world.now_ms + self.period_ms
        used = self._used_ns / max(self._span_ns, 1.0)
        self._used_ns[:] = 0.0
        self._span_ns = 0.0
        machine.age_generations("lru-bw")
        fast_used = float(used[list(machine.top_nodes)].max())
        slow_used = float(used[machine.lower].max(initial=0.0))
        if fast_used < self.fast_below and slow_used > self.slow_above:
            self._exchange(world)
        else:
            world.decisions.rest(HeldBack.NEVER_PRESSED)

    def _exchange(self, world: LabWorld) -> None:
        machine = world.machine
        granted = self._granted.whole(world.pages_of(self._chunk_mib * MIB))
        chunk = min(granted, machine.pages_in_budget(self.name, self.period_ms * 1e6 / world.group_pages))
        if chunk == 0:  # a part of a page, to be carried on, or no time
            return
        promoted_before, demoted_before = machine.ledger.promoted, machine.ledger.demoted
        for source in np.flatnonzero(machine.lower):
            young = machine.generations.youngest(machine.place, int(source), chunk)
            target = machine.promotion_targets[int(source)][0]
            if len(young) == 0:
                world.decisions.rest(HeldBack.NOTHING_SEEN)
            short = len(young) - machine.room(target)
            if short > 0:
                cold, _ = machine.generations.oldest(machine.place, target, short, machine.now_ns)
                world.decisions.move(cold, Moved.COLD)
                machine.demote(cold, target, "lru-bw")
            world.decisions.move(young, Moved.HOT)
            world.decisions.hold(machine.migrate(young, target, "lru-bw").failed, HeldBack.FREE_SPACE)
        self._adapt(machine.ledger.promoted - promoted_before, machine.ledger.demoted - demoted_before)

    def _adapt(self, promoted: int, demoted: int) -> None:
        self._losing_periods = self._losing_periods + 1 if demoted >= promoted else 0
        if self._losing_periods >= 3:
            self._chunk_mib = max(self._chunk_mib / 2, self.chunk_min_mib)
            self._losing_periods = 0
        elif demoted < promoted:
            self._chunk_mib = min(self._chunk_mib * 2, self.chunk_max_mib)

    def tracker_bytes(self) -> int:
        return 0

    def counters(self) -> dict[str, int]:
        return {}
