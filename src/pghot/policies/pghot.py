"""pghot: any source records, a store decides, kernel threads promote in batches (LKML, v2..v8).

The same engine serves the live service; the lab's machine migrates what it asks for.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from pghot.arrays import U32
from pghot.engine.accesses import Accesses
from pghot.engine.engine import HotnessEngine, Promotions
from pghot.engine.hashed import HashedStore
from pghot.engine.settings import FAITHFUL, PACKED, EngineSettings
from pghot.engine.stores import make_store
from pghot.errors import unknown_name
from pghot.policies.policy import World

# Sources that record from the program's own context: a fault or an interrupt. The others have a thread.
INLINE_SOURCES = ("hintfaults", "ibs", "pebs")


class Pghot:
    """pghot with one of the engine's stores. `options` are fields of `EngineSettings`."""

    kind = "mover"
    default_sources: tuple[str, ...] = ("hintfaults",)
    any_source = True
    runs_live = True

    def __init__(self, store: str = "default", **options: Any) -> None:
        self.name = f"pghot-{store}"
        self.summary = f"pghot with the {store} store, any source, batched promotion by kernel threads"
        self.store, self.options = store, options
        known = [each.name for each in fields(EngineSettings)]
        for option in options:
            if option not in known:
                raise unknown_name(f"option of '{self.name}'", option, known)
        if options:
            # Values that cannot be are found here, before a program is started in vain; `start` knows the machine.
            nodes = tuple(range(255))
            least = {"pages": 1, "page_bytes": 4096, "nodes": len(nodes), "top_nodes": nodes, "target_nid": 0}
            make_store(EngineSettings(store=store, **{**least, **options}))

    def start(self, world: World) -> None:
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
                **{"target_nid": world.fast_node, "top_of_node": near, "scale": world.scale, **self.options},
            )
        )
        self._list_steps = 0
        self._thread = "kpromoted" if self.store == "hashed" else "kmigrated"

    def observe(self, world: World, source: str, accesses: Accesses) -> None:
        machine, store = world.machine, self.engine.store
        self.engine.record(source, accesses, machine.place, machine.lower)
        if isinstance(store, HashedStore) and store.list_steps > self._list_steps:
            walk_ns = (store.list_steps - self._list_steps) * world.simulated.costs.hash_list_step_ns
            self._list_steps = store.list_steps
            inline = source in INLINE_SOURCES
            machine.charge_tracking(walk_ns * inline, walk_ns * (not inline), source)

    def act(self, world: World) -> None:
        machine = world.machine
        machine.balance()
        budget = machine.pages_in_budget(self._thread)
        if budget == 0:
            return
        promotions = self.engine.wake(
            world.now_ms, machine.free_pages, machine.capacity_pages, machine.high_pages, budget
        )
        for node in np.unique(promotions.node):
            pages = promotions.page[promotions.node == node]
            failed = machine.migrate(pages, int(node), self._thread, self.engine.batch_nr).failed
            if len(failed):
                self.engine.requeue(Promotions(failed, np.full(len(failed), node, np.int16)))

    def lab_options(self) -> list[str]:
        """See `SomeInTheLab.lab_options`."""
        given = [
            f"faithful={name}" for name in sorted(self.options.get("faithful", ())) if FAITHFUL[name].lab_only
        ]
        if self.store in PACKED and self.options.get("batch_nr") is not None:
            given.append("batch_nr")  # kmigrated's batches; live they are the mover's own, `--batch`
        return given

    def forget(self, page: U32) -> None:
        """See `Forgets.forget`."""
        self.engine.forget(page)

    def tracker_bytes(self) -> int:
        return self.engine.bytes_total()

    def counters(self) -> dict[str, int]:
        return self.engine.counters
