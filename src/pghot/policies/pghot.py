"""pghot: any source can report, a store decides what is hot, kernel threads promote in batches (LKML, v2..v8).

The policy is the same in both halves: the engine says which pages are hot, and the machine migrates them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Annotated, Any, ClassVar, Generic

import numpy as np

from pghot.arrays import I32, U32
from pghot.engine import STORES, check_heeded
from pghot.engine.accesses import Accesses, Source
from pghot.engine.engine import HotnessEngine, Promotions
from pghot.engine.gate import RATE_LIMITED, TOO_OLD, UNREACHED
from pghot.engine.hashed import HashedStore
from pghot.engine.settings import FAITHFUL, KNOBS, PACKED, EngineSettings
from pghot.policies.below_top import below_top, others
from pghot.policies.decisions import HeldBack, Moved
from pghot.policies.policy import W, World

_NONE = np.empty(0, np.uint32)

# Settings that the policy takes from the machine it runs on.
_FROM_THE_MACHINE = (
    "store", "pages", "page_bytes", "nodes", "top_nodes", "top_of_node", "group_pages", "first_page", "enabled_sources",
)  # fmt: skip


def options_with(**preset: Any) -> inspect.Signature:
    """The fields of `EngineSettings` that a user may set, some with another default."""
    return inspect.Signature(
        [each.replace(default=preset.get(each.name, each.default)) for each in _options()]
    )


def _options() -> Iterator[inspect.Parameter]:
    """The fields of `EngineSettings` that a user may set; the default is None where it depends on the machine."""
    for each in fields(EngineSettings):
        if each.name not in _FROM_THE_MACHINE:
            made = each.default_factory() if each.default_factory is not MISSING else each.default
            default = None if made is MISSING else made
            knob = Annotated[Any, KNOBS[each.name]] if each.name in KNOBS else inspect.Parameter.empty
            yield inspect.Parameter(
                each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=knob
            )


class Pghot(Generic[W]):
    """pghot with the engine's store called `store`, which a subclass names.

    preset  engine settings that a subclass has by default, beside those of `EngineSettings`
    """

    store: str
    preset: ClassVar[Mapping[str, Any]] = {}
    name: str
    kind = "mover"
    group = "pghot"
    default_sources: tuple[str, ...] = ("hintfaults",)
    any_source = True
    runs_live = True
    awaits = "the pghot patches, which no released kernel has"
    __signature__ = options_with()

    def __init__(self, **options: Any) -> None:
        self.options = options
        if options:
            check_heeded(self.store, options)
            # Impossible values are found here, before a program is started in vain. Only `start` knows the machine.
            nodes = tuple(range(255))
            least = {"pages": 1, "page_bytes": 4096, "nodes": len(nodes), "top_nodes": nodes, "target_nid": 0}
            STORES.make(self.store, EngineSettings(store=self.store, **{**least, **options}))

    def start(self, world: W) -> None:
        machine = world.machine
        machine.demotion_enabled = True
        near = tuple(targets[0] for targets in machine.promotion_targets)
        self.engine = HotnessEngine(
            EngineSettings(
                store=self.store,
                pages=world.pages,
                page_bytes=world.page_bytes,
                nodes=len(machine.free_pages),
                top_nodes=machine.top_nodes,
                first_page=world.first_page,
                **{
                    "target_nid": world.fast_node,
                    "top_of_node": near,
                    "group_pages": world.group_pages,
                    **self.preset,
                    **self.options,
                },
            )
        )
        self._seen: list[
            U32
        ] = []  # pages of lower tiers in reports since the last round; a page may appear more than once
        self._is_hot = np.zeros(world.pages, np.bool_)
        self._list_steps = 0
        self._thread = "kpromoted" if self.store == "hashed" else "kmigrated"

    def observe(self, world: W, source: Source, accesses: Accesses) -> None:
        machine, store = world.machine, self.engine.store
        self.engine.record(source, accesses, machine.place, machine.lower)
        self._seen.append(below_top(machine, accesses.page))
        if isinstance(store, HashedStore) and store.list_steps > self._list_steps:
            walk_ns = (store.list_steps - self._list_steps) * machine.hash_list_step_ns
            self._list_steps = store.list_steps
            machine.charge_tracking(walk_ns * source.inline, walk_ns * (not source.inline), source.name)

    def act(self, world: W) -> None:
        machine = world.machine
        machine.balance()
        budget = machine.pages_in_budget(self._thread, self.engine.sleep_ms * 1e6 / world.group_pages)
        if budget == 0:
            world.decisions.rest(machine.budget_ends_with)
            self._seen.clear()
            return
        rounds = self.engine.rounds
        promotions = self.engine.wake(
            world.now_ms, machine.free_pages, machine.capacity_pages, machine.high_pages, budget
        )
        found_no_room = 0
        for node in np.flatnonzero(np.bincount(promotions.node)):
            pages = promotions.page[promotions.node == node]
            world.decisions.move(pages, Moved.HOT)
            failed = machine.migrate(pages, int(node), self._thread, self.engine.batch_nr).failed
            if len(failed):
                found_no_room += len(failed)
                world.decisions.hold(failed, HeldBack.FREE_SPACE)
                self.engine.requeue(Promotions(failed, np.full(len(failed), node, np.int16)))
        if self.engine.rounds > rounds:
            self._explain(world, full=0 < len(promotions.page) == found_no_room)

    def _explain(self, world: W, full: bool) -> None:
        """Tell why the round that just was did not promote the other pages that were seen since the one before.

        full  no page that was tried found room: those after them would not have either, whatever the budget
        """
        decisions, engine = world.decisions, self.engine
        seen = self._seen[0] if len(self._seen) == 1 else np.concatenate([_NONE, *self._seen])
        self._seen.clear()
        if len(seen) == 0 and len(engine.hot()) == 0:
            decisions.rest(HeldBack.NOTHING_SEEN)
            return
        self._is_hot[engine.hot()] = True
        decisions.hold(others(seen, self._is_hot), HeldBack.THRESHOLD)
        self._is_hot[engine.hot()] = False
        decisions.hold(engine.hot(TOO_OLD), HeldBack.GATE)
        decisions.hold(engine.hot(RATE_LIMITED), HeldBack.RATE)
        unreached = HeldBack.FREE_SPACE if full else world.machine.budget_ends_with
        decisions.hold(engine.hot(UNREACHED), unreached)

    def lab_options(self) -> list[str]:
        """See `SomeInTheLab.lab_options`."""
        given = [
            f"faithful={name}" for name in sorted(self.options.get("faithful", ())) if FAITHFUL[name].lab_only
        ]
        if self.store in PACKED and self.options.get("batch_nr") is not None:
            given.append("batch_nr")  # kmigrated's batches; in a live run the mover has its own, `--batch`
        return given

    def heat(self, page: U32) -> I32:
        """See `TellsHeat.heat`."""
        return self.engine.frequency(page)

    def forget(self, page: U32) -> None:
        """See `Forgets.forget`."""
        self.engine.forget(page)

    def tracker_bytes(self) -> int:
        return self.engine.bytes_total()

    def counters(self) -> dict[str, int]:
        return self.engine.counters


class PghotDefault(Pghot[World]):
    """pghot since v4: one byte for each page."""

    name = "pghot-default"
    summary = "pghot with the default store, any source, batched promotion by kernel threads"
    store = "default"


class PghotPrecise(Pghot[World]):
    """pghot since v4: four bytes for each page."""

    name = "pghot-precise"
    summary = "pghot with the precise store, any source, batched promotion by kernel threads"
    store = "precise"


class PghotHashed(Pghot[World]):
    """pghot of v2 and v3: a hash table and heaps."""

    name = "pghot-hashed"
    summary = "pghot with the hashed store, any source, batched promotion by kernel threads"
    store = "hashed"


# The published benchmarks of pghot ran with a threshold of one access (FACTS 9), with which hint faults can promote.
_AS_PUBLISHED: Mapping[str, Any] = {"freq_threshold": 1}


class PghotDefaultPublished(PghotDefault):
    """pghot since v4, one byte for each page, as its benchmarks ran it."""

    name = "pghot-default-f1"
    summary = "pghot-default as its published benchmarks ran it: freq_threshold 1"
    preset = _AS_PUBLISHED
    __signature__ = options_with(**_AS_PUBLISHED)


class PghotPrecisePublished(PghotPrecise):
    """pghot since v4, four bytes for each page, as its benchmarks ran it."""

    name = "pghot-precise-f1"
    summary = "pghot-precise as its published benchmarks ran it: freq_threshold 1"
    preset = _AS_PUBLISHED
    __signature__ = options_with(**_AS_PUBLISHED)


class PghotHashedPublished(PghotHashed):
    """pghot of v2 and v3, a hash table and heaps, as its benchmarks ran it."""

    name = "pghot-hashed-f1"
    summary = "pghot-hashed as its published benchmarks ran it: freq_threshold 1"
    preset = _AS_PUBLISHED
    __signature__ = options_with(**_AS_PUBLISHED)
