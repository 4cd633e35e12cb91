"""Chrono (EuroSys 2025): promotes pages whose idle time was short in two rounds of hint faults in a row.

The latency of a hint fault is the time for which the page lay idle: the shorter, the hotter. A page that faults within
the threshold becomes a candidate, and at its next fault within it is queued for promotion; one that faults later than
that is no candidate any more. A thread promotes from the queue at the rate limit. Here Chrono is in its semi-automatic
mode: the user gives the limit, and the threshold follows the demand. Constants and the steps of the threshold are those
of its artifact (kernel/sched/fair.c, numa_migration_adjust_threshold(); the limit is its README's):

* The threshold begins at 1000 ms, and is judged after 60 s, or as soon as more than 1.1 times as many pages faulted
  within it as the limit lets through in 60 s. Then it falls by a tenth. After 60 s with less than 0.2 times as many it
  grows by a half, with less than 0.9 times by a tenth, up to 2000 ms.

Not modelled: the automatic mode, which takes threshold and limit from a histogram of the idle times of sampled pages in
both tiers (the lab's hint faults are those of the slow tier); the watermark above which the kernel demotes early; the
halved limit after thrashing; the bias for writes. The threshold is judged once for the faults of a slice, before them.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from pghot.carry import Carry
from pghot.engine.accesses import Accesses, Source
from pghot.parameters import Knob, check_knobs
from pghot.policies.decisions import HeldBack, Moved
from pghot.policies.policy import World

HOT_THRESHOLD_MS = 1000
ADJUST_MS = 60_000  # sysctl_numa_balancing_scan_period_max
MIB = 1 << 20


class Chrono:
    """Two rounds of idle time, a threshold that follows demand, and a queue.

    rate_limit_mb_s   promotions, MiB/s
    hot_threshold_ms  where the threshold begins; it grows to twice that at most
    rounds            faults in a row that must come within it
    """

    name = "chrono"
    summary = "Chrono: idle time in two rounds of hint faults, a threshold that follows demand, a queue"
    kind = "mover"
    default_sources: tuple[str, ...] = ("hintfaults",)
    any_source = False
    runs_live = False
    awaits = "Chrono's patches"

    def __init__(
        self,
        rate_limit_mb_s: Annotated[float, Knob(0, 1e9, 16, 65536)] = 30.0,
        hot_threshold_ms: Annotated[int, Knob(1, 1_000_000, 10, 60_000)] = HOT_THRESHOLD_MS,
        rounds: Annotated[int, Knob(1, 255, 1, 8)] = 2,
    ) -> None:
        check_knobs(self.name, type(self), locals())
        self.rate_limit_mb_s, self.hot_threshold_ms, self.rounds = rate_limit_mb_s, hot_threshold_ms, rounds

    def start(self, world: World) -> None:
        world.machine.demotion_enabled = True
        self.threshold_ms = self.hot_threshold_ms
        self._rate = world.pages_of(self.rate_limit_mb_s * MIB)  # pages in a second
        self._short = np.zeros(world.pages, np.uint8)  # faults in a row within the threshold
        self._queued = np.zeros(world.pages, np.bool_)
        self._queue = np.empty(0, np.uint32)
        self._granted = Carry()
        self._judged_ms, self._since_judged = 0, 0  # time, and faults within the threshold since then
        self._last_ms = 0.0
        self._faults = self._faults_before = self._candidates = 0

    def observe(self, world: World, source: Source, accesses: Accesses) -> None:
        if accesses.latency_ms is None:
            return
        self._judge_threshold(accesses.time_ms)
        page, short = accesses.page, accesses.latency_ms <= self.threshold_ms
        self._faults += len(page)
        self._candidates += int(np.count_nonzero(short))
        self._since_judged += int(np.count_nonzero(short))
        self._short[page] = np.where(short, np.minimum(self._short[page] + 1, self.rounds), 0)
        hot = self._short[page] == self.rounds
        world.decisions.hold(page[~hot], HeldBack.THRESHOLD)
        fresh = page[hot & ~self._queued[page]]
        self._queued[fresh] = True
        self._queue = np.concatenate([self._queue, fresh])

    def _judge_threshold(self, now_ms: int) -> None:
        wanted = self._rate * ADJUST_MS / 1000
        found, now = self._since_judged, self.threshold_ms
        if now_ms <= self._judged_ms + ADJUST_MS and found <= 1.1 * wanted:
            return
        self._judged_ms, self._since_judged = now_ms, 0
        most = 2 * self.hot_threshold_ms
        if found > 1.1 * wanted:
            self.threshold_ms = max(1, min(now * 9 // 10, now - 1))
        elif found < 0.2 * wanted:
            self.threshold_ms = min(most, max(now * 15 // 10, now + 10))
        elif found < 0.9 * wanted:
            self.threshold_ms = min(most, max(now * 11 // 10, now + 1))

    def act(self, world: World) -> None:
        if self._faults == self._faults_before:
            world.decisions.rest(HeldBack.NOTHING_SEEN)
        self._faults_before = self._faults
        granted = self._granted.whole(self._rate * (world.now_ms - self._last_ms) / 1000)
        self._last_ms = world.now_ms
        self._promote(world, min(granted, world.machine.pages_in_budget(self.name)))
        world.machine.balance()

    def _promote(self, world: World, budget: int) -> None:
        """Promote the first of the queue. What finds no room leaves it, and comes back with its next short fault."""
        page, self._queue = self._queue[:budget], self._queue[budget:]
        self._queued[page] = False
        if len(page) == 0:
            if len(self._queue):
                world.decisions.rest(HeldBack.RATE)
            return
        world.decisions.move(page, Moved.HOT)
        moves = world.machine.migrate(page, world.fast_node, self.name)
        self._short[moves.moved] = 0
        world.decisions.hold(moves.failed, HeldBack.FREE_SPACE)

    def tracker_bytes(self) -> int:
        """4 bytes for each page, as in the paper: its idle time and whether it is a candidate."""
        return 4 * len(self._short)

    def counters(self) -> dict[str, int]:
        return {"numa_hint_faults": self._faults, "pgpromote_candidate": self._candidates}
