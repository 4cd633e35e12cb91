"""NUMA balancing mode 2 (kernel/sched/fair.c, should_numa_migrate_memory; memory tiering since 5.18).

A hint fault whose latency is below the hot threshold promotes the page, inline, in the thread that faulted.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from pghot.engine.accesses import Accesses, Source
from pghot.engine.gate import FREE_SPACE, RATE_LIMITED, RATE_OK, TOO_OLD, Gate
from pghot.engine.settings import MOST, EngineSettings
from pghot.engine.store import Candidates
from pghot.parameters import Knob, check_knobs
from pghot.policies.decisions import HeldBack, Moved
from pghot.policies.policy import World
from pghot.sim.machine.move_costs import HINT_FAULT

HOT_THRESHOLD_MS = 1000  # sysctl_numa_balancing_hot_threshold


class NumaBalancing2:
    """The kernel's own policy: the baseline that pghot has to beat. Published tables switch parts of it off.

    rate_limit_mb_s   promotions of each target node, MiB/s
    hot_threshold_ms  a page that faults later than this after its scan is not hot
    threshold, adaptation, rate_limit  whether that test is made, whether the threshold moves with the demand, and
                      whether the rate is limited
    """

    name = "numab2"
    summary = "kernel NUMA balancing mode 2: hint faults, promotion in the faulting thread"
    kind = "mover"
    default_sources: tuple[str, ...] = ("hintfaults",)
    any_source = False
    runs_live = False
    awaits = ""
    moves_in_fault = True

    def __init__(
        self,
        rate_limit_mb_s: Annotated[float, Knob(0, MOST, 16, 65536)] = 65536.0,
        hot_threshold_ms: Annotated[int, Knob(1, 1_000_000, 10, 60_000)] = HOT_THRESHOLD_MS,
        threshold: bool = True,
        adaptation: bool = True,
        rate_limit: bool = True,
    ) -> None:
        check_knobs(self.name, type(self), locals())
        self.rate_limit_mb_s = rate_limit_mb_s if rate_limit else MOST
        self.hot_threshold_ms, self._tests, self._adapts = hot_threshold_ms, threshold, adaptation

    def start(self, world: World) -> None:
        machine = world.machine
        machine.demotion_enabled = True
        settings = EngineSettings(
            store="default",
            pages=world.pages,
            page_bytes=world.page_bytes,
            nodes=len(machine.free_pages),
            top_nodes=machine.top_nodes,
            target_nid=world.fast_node,
            rate_limit_mb_s=self.rate_limit_mb_s,
            group_pages=world.group_pages,
        )
        self._settings = settings
        self._gate = Gate(settings, self.hot_threshold_ms, self._adapts)
        self._last_ms = 0
        self._faults = self._faults_before = 0

    def observe(self, world: World, source: Source, accesses: Accesses) -> None:
        if len(accesses) == 0 or accesses.latency_ms is None:
            return
        self._faults += len(accesses)
        machine = world.machine
        # The fault promotes to the node of the CPU that faulted.
        target = np.array(
            [self._settings.target_of(node) for node in range(len(machine.free_pages))], np.int16
        )
        latency_ms = accesses.latency_ms.astype(np.int64) * self._tests
        candidates = Candidates(accesses.page, target[accesses.node], latency_ms, accesses.page)
        now, span = accesses.time_ms, max(1, accesses.time_ms - self._last_ms)
        self._last_ms = now
        verdict = self._gate.judge(
            candidates,
            now,
            span,
            machine.free_pages,
            machine.capacity_pages,
            machine.high_pages,
            len(accesses),
        )
        world.decisions.hold(accesses.page[verdict == TOO_OLD], HeldBack.THRESHOLD)
        world.decisions.hold(accesses.page[verdict == RATE_LIMITED], HeldBack.RATE)
        hot = (verdict == FREE_SPACE) | (verdict == RATE_OK)
        for node in np.unique(candidates.node[hot]):
            page = candidates.page[hot & (candidates.node == node)]
            world.decisions.move(page, Moved.HOT)
            world.decisions.hold(
                machine.migrate(page, int(node), payer=HINT_FAULT).failed, HeldBack.FREE_SPACE
            )

    def act(self, world: World) -> None:
        if self._faults == self._faults_before:
            world.decisions.rest(HeldBack.NOTHING_SEEN)
        self._faults_before = self._faults
        world.machine.balance()

    def tracker_bytes(self) -> int:
        return 0

    def counters(self) -> dict[str, int]:
        return {"numa_hint_faults": self._faults, **self._gate.counters()}
