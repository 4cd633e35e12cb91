"""HeMem (SOSP 2021): sampled counts in 2 MiB pages, a fixed hot threshold, lazy cooling.

Constants as published (FACTS 7): a page is hot at 8 samples, all counts are halved when a page reaches 18, and the
policy runs every 10 ms and migrates at most 10 GB/s. The lab's sources do not tell sampled loads from stores, so the
lower threshold of 4 stores is not used.

It counts 2 MiB pages and moves them whole, at the speed of 2 MiB folios. Samples are counted one by one, as its thread
does: between two of them all counts may be halved. The order inside a batch is not known: they are mixed. A batch may
be longer than a round, 50 ms of a slice or 100 ms of a live round: a unit that was hot when one of the rounds in it was
due moves at its end, though it may have been halved since. Else fewer units would move the longer the batches are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Generic

import numpy as np

from pghot.arrays import I32, I64, U32, Bool
from pghot.carry import Carry
from pghot.engine.accesses import Accesses, Source
from pghot.errors import UsageError
from pghot.jit import njit
from pghot.parameters import MOST, Knob, check_knobs
from pghot.policies.below_top import below_top
from pghot.policies.decisions import HeldBack, Moved
from pghot.policies.granularity import Units
from pghot.policies.policy import W, World
from pghot.ties import from_first

HOT_COUNT = 8
COOL_COUNT = 18
PERIOD_MS = 10.0
# Of the published code of HeMem with Colloid, beside the constants above (src/pebs.h there). Copies of HeMem's own code
# have 5003, 10007 and others; which of them its paper ran with is unverified.
SAMPLE_PERIOD = 5003
RATE_GB_S = 10.0


@njit(cache=True)
def count_samples(
    unit: I64, count: I32, clock: I32, hot: Bool, rounds: int, freq_threshold: int, cooling_samples: int
) -> int:
    """Count samples one after the other; returns how often all counts were halved.

    unit    int64[samples]  the unit of each
    count   int32[units]    updated
    clock   int32[units]    scratch, zeros before and after: halvings that the unit's count has had
    hot     bool[units]     True is added for those sampled that are hot at the end of one of ...
    rounds                  ... so many equal parts of the samples
    freq_threshold, cooling_samples  see `SampledCounts`
    """
    now = first = 0
    for part in range(1, max(rounds, 1) + 1):
        last = len(unit) * part // max(rounds, 1)
        for sampled in unit[first:last]:
            count[sampled] = (count[sampled] >> min(now - clock[sampled], 31)) + 1
            clock[sampled] = now
            if count[sampled] >= cooling_samples:
                now += 1
        if rounds:
            for sampled in unit[first:last]:
                hot[sampled] |= count[sampled] >> min(now - clock[sampled], 31) >= freq_threshold
        first = last
    if now:
        for each in range(len(count)):
            count[each] >>= min(now - clock[each], 31)
            clock[each] = 0
    return now


class SampledCounts(ABC, Generic[W]):
    """What HeMem and its successors share: the counts, the rounds and their budget. A subclass decides what moves.

    freq_threshold   a unit is hot from so many samples on
    cooling_samples  all counts are halved when a unit has so many
    period_ms        kernel ms between two rounds of migration
    rate_gb_s        what the rounds may move at most
    """

    name: str
    kind = "mover"
    default_sources: tuple[str, ...] = ("pebs",)
    any_source = False
    demotes = True
    awaits = "HeMem's library with its kernel patches"
    granularity_bytes = 2 << 20
    period_events = SAMPLE_PERIOD
    hot_from = HOT_COUNT

    def __init__(
        self,
        freq_threshold: Annotated[int, Knob(1, 1000, 1, 16)] = HOT_COUNT,
        cooling_samples: Annotated[int, Knob(2, 10_000, 17, 128)] = COOL_COUNT,
        period_ms: Annotated[float, Knob(1, MOST, 10, 1000)] = PERIOD_MS,
        rate_gb_s: Annotated[float, Knob(0.001, 1000, 0.05, 10)] = RATE_GB_S,
    ) -> None:
        check_knobs(self.name, type(self), locals())
        if freq_threshold >= cooling_samples:
            raise UsageError(
                f"{self.name}.freq_threshold {freq_threshold} with {self.name}.cooling_samples {cooling_samples}: "
                "counts are halved before any is hot",
                f"give a cooling_samples above {freq_threshold}",
            )
        self.freq_threshold, self.cooling_samples = freq_threshold, cooling_samples
        self.period_ms, self.rate_gb_s = period_ms, rate_gb_s

    def start(self, world: W) -> None:
        world.machine.demotion_enabled = False  # it demotes by itself
        self.units = Units(world.pages, world.page_bytes, world.group_pages, self.granularity_bytes)
        self.count = np.zeros(self.units.count, np.int32)
        self._clock = np.zeros(self.units.count, np.int32)
        self._was_hot = np.zeros(self.units.count, np.bool_)  # at a round that was due inside a batch
        self._rng = np.random.default_rng(world.seed)
        self._next_ms = self.period_ms
        self._last_ns = 0.0
        self._seen = 0  # reports of pages in lower tiers since the last round
        self._granted = Carry()

    def observe(self, world: W, source: Source, accesses: Accesses) -> None:
        samples = np.repeat(self.units.of(accesses.page).astype(np.int64), accesses.count)
        self._rng.shuffle(samples)
        since_ms = world.now_ms - (self._next_ms - self.period_ms)
        rounds = int(min(since_ms / self.period_ms, len(samples)))
        count_samples(
            samples, self.count, self._clock, self._was_hot, rounds, self.freq_threshold, self.cooling_samples
        )
        below = below_top(world.machine, accesses.page)
        self._seen += len(below)
        world.decisions.hold(below[~self.hot()[self.units.of(below)]], HeldBack.THRESHOLD)

    def hot(self) -> Bool:
        """bool[units]: hot now, or at a round that has been due since the last one."""
        return self._was_hot | (self.count >= self.freq_threshold)

    def act(self, world: W) -> None:
        if world.now_ms < self._next_ms:
            return
        self._next_ms = world.now_ms + self.period_ms
        if self._seen == 0:
            world.decisions.rest(HeldBack.NOTHING_SEEN)
        self._seen = 0
        machine = world.machine
        span_ns, self._last_ns = machine.now_ns - self._last_ns, machine.now_ns
        budget = self._granted.whole(self.rate_gb_s * span_ns / world.page_bytes)
        self.migrate(world, min(budget, machine.pages_in_budget(self.name, span_ns)))
        self._was_hot[:] = False

    @abstractmethod
    def migrate(self, world: W, budget: int) -> None:
        """One round of the policy. At most `budget` pages move in total."""

    def hot_below(self, world: W) -> U32:
        """Hot pages outside the fast tier, hottest first."""
        place, lower = world.machine.place, world.machine.lower
        hot = from_first(self.units.pages_of(np.flatnonzero(self.hot())), world.first_page)
        hot = hot[place[hot] < len(lower)]  # the others are on no node: their program is gone
        hot = hot[lower[place[hot]]]
        return hot[np.argsort(-self.count[self.units.of(hot)], kind="stable")]

    def promote_hot(self, world: W, hot: U32, budget: int) -> None:
        """Promote as many of `hot`, the first `budget` at most, as demoting cold pages makes room for."""
        machine, fast = world.machine, world.fast_node
        page, beyond = hot[:budget], hot[budget:]
        tried = len(page)
        room = machine.room(fast)
        short = len(page) - room
        if short > 0:
            # Each page that comes in pushes another out. Both count against the budget that `page` was cut to.
            short = (short + 1) // 2
            world.decisions.hold(page[room + short :], HeldBack.FREE_SPACE)
            page = page[: room + short]
            there = from_first(np.flatnonzero(machine.place == fast).astype(np.uint32), world.first_page)
            unit = self.units.of(there)
            there, unit = there[~self.hot()[unit]], unit[~self.hot()[unit]]
            cold = there[np.argsort(self.count[unit], kind="stable")][:short]
            world.decisions.move(cold, Moved.COLD)
            machine.demote(cold, fast, self.name)
        page, without = np.split(page, [machine.room(fast)])
        world.decisions.hold(without, HeldBack.FREE_SPACE)
        if len(page):
            world.decisions.move(page, Moved.HOT)
            machine.migrate(page, fast, self.name)
        # Where none of those within the budget found room, those beyond it would not have either.
        full = tried > 0 and len(page) == 0
        world.decisions.hold(beyond, HeldBack.FREE_SPACE if full else machine.budget_ends_with)

    def heat(self, page: U32) -> I32:
        """See `TellsHeat.heat`: the samples of its unit, halved at each cooling."""
        counted: I32 = self.count[self.units.of(page)]
        return counted

    def forget(self, page: U32) -> None:
        """See `Forgets.forget`."""
        self.count[self.units.of(page)] = 0
        self._was_hot[self.units.of(page)] = False

    def tracker_bytes(self) -> int:
        return int(self.count.nbytes)

    def counters(self) -> dict[str, int]:
        return {}


class HeMem(SampledCounts[World]):
    """Packs the hottest pages into the fast tier; demotes cold ones only to make room."""

    name = "hemem"
    summary = "HeMem: PEBS counts, hot at 8, halved at 18, every 10 ms"
    runs_live = True

    def migrate(self, world: World, budget: int) -> None:
        self.promote_hot(world, self.hot_below(world), budget)
