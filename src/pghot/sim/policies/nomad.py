"""Nomad (OSDI 2024): promotion beside the running program, and copies of promoted pages that stay below.

A hint fault makes a page a candidate and returns. Each later fault looks at the candidates before it: the first look
marks such a page as referenced, the second makes it active, the third queues it (its module's decide_queue_page(); the
page was accessed by its own fault, and nothing clears that). A kernel thread promotes from the queue of 512, without
the program waiting. It reclaims nothing for that: what finds no room needs a new fault.

What was promoted keeps its copy below, its shadow, until the program writes to it, which costs a fault. kswapd demotes
early, as with `tpp`, whose kernel Nomad extends. A page with a shadow goes down without being copied. Shadows take only
memory that is free otherwise, and are the first that a node short of memory gives up.

The code was read, of the paper only its abstract. Choices of ours: shadows are given up in the order of pages, and all
that the slow node has free above its high watermark may hold them; a fault of a write to a shadowed page costs what a
hint fault does (1,200 ns, est.); a pointer of 8 bytes for each shadow is its tracking (est.).

Not modelled: that a write during the copy aborts the move, and the page is tried again: a copy takes a microsecond,
the lab's slices milliseconds; kswapd at work inside a slice; that activations wait for a batch of 15 on each CPU.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from pghot.arrays import NOWHERE, U32
from pghot.carry import Carry
from pghot.engine.accesses import Accesses, Source
from pghot.parameters import Knob, check_knobs
from pghot.policies.below_top import below_top
from pghot.policies.decisions import HeldBack, Moved
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.remap import remap
from pghot.sim.policies.tpp import DEMOTE_SCALE, demote_early

LOOKS = 3
QUEUE_PAGES = 512  # PROMOTE_QUEUE_LEN


class Nomad:
    """Asynchronous promotion with shadows.

    demote_scale  kswapd keeps this share of each top-tier node free
    looks         later faults until a candidate is queued
    queue_pages   that wait for the thread; what finds it full needs a new fault
    """

    name = "nomad"
    summary = (
        "Nomad: hint faults queue pages for a thread; what it promotes keeps a copy below until it is written"
    )
    kind = "mover"
    default_sources: tuple[str, ...] = ("hintfaults",)
    any_source = False
    runs_live = False
    demotes = True
    awaits = "Nomad's kernel"

    def __init__(
        self,
        demote_scale: Annotated[float, Knob(0, 0.1, 0.005, 0.1)] = DEMOTE_SCALE,
        looks: Annotated[int, Knob(1, 255, 1, 20)] = LOOKS,
        queue_pages: Annotated[int, Knob(1, 1 << 20, 64, 1 << 16)] = QUEUE_PAGES,
    ) -> None:
        check_knobs(self.name, type(self), locals())
        self.demote_scale, self.looks, self.queue_pages = demote_scale, looks, queue_pages

    def start(self, world: LabWorld) -> None:
        world.machine.demotion_enabled = False  # it demotes by itself, because shadows need no copy
        world.machine.written = np.zeros(world.pages, np.bool_)
        demote_early(world.machine, self.demote_scale)
        self._shadow = np.full(world.pages, NOWHERE, np.uint8)  # the node with a copy of the page
        self._candidates = np.empty(0, np.uint32)
        self._queue, self._queued = np.empty(0, np.uint32), np.zeros(world.pages, np.bool_)
        self._room = Carry()  # of the queue: the fraction of a page in which it ends is there every so often
        self._target = np.zeros(world.pages, np.uint8)  # the node that a candidate is to go to
        self._faults = self._faults_before = self._promotable = 0

    def observe(self, world: LabWorld, source: Source, accesses: Accesses) -> None:
        self._faults += len(accesses)
        nearest = np.array([targets[0] for targets in world.machine.promotion_targets], np.uint8)
        self._target[accesses.page] = nearest[accesses.node]
        waiting = np.concatenate([self._candidates, accesses.page])
        looked_at = max(0, len(waiting) - self.looks)  # so many had enough faults after them
        self._candidates = waiting[looked_at:]
        world.decisions.hold(self._candidates, HeldBack.THRESHOLD)
        page = below_top(world.machine, waiting[:looked_at])
        page = page[~self._queued[page]]
        below = page[np.sort(np.unique(page, return_index=True)[1])]
        self._queued[below] = True
        self._promotable += len(below)
        self._queue = np.concatenate([self._queue, below])

    def act(self, world: LabWorld) -> None:
        if self._faults == self._faults_before:
            world.decisions.rest(HeldBack.NOTHING_SEEN)
        self._faults_before = self._faults
        self._drop_written(world)
        failed = self._promote(world)
        while self._make_room(world) and len(failed):  # kswapd works beside the thread that promotes
            self._queue = np.concatenate([failed, self._queue])
            failed = self._promote(world)
        world.decisions.hold(failed, HeldBack.FREE_SPACE)
        most = self._room.whole(self.queue_pages / world.group_pages)
        self._queue, beyond = self._queue[:most], self._queue[most:]
        world.decisions.hold(beyond, world.machine.budget_ends_with)
        self._queued[failed] = self._queued[beyond] = False

    def _drop_written(self, world: LabWorld) -> None:
        """The program wrote to these pages: their copies are stale. Each write faulted."""
        assert world.machine.written is not None
        stale = np.flatnonzero(world.machine.written & (self._shadow != NOWHERE))
        self._shadow[stale] = NOWHERE
        world.machine.charge_tracking(len(stale) * world.machine.costs.hint_fault_ns, 0.0, self.name)
        world.machine.written[:] = False

    def _promote(self, world: LabWorld) -> U32:
        """Promote from the queue what there is time for; returns what of that found no room."""
        machine = world.machine
        budget = machine.pages_in_budget(self.name)
        page, self._queue = self._queue[:budget], self._queue[budget:]
        home = machine.place[page].copy()
        world.decisions.move(page, Moved.HOT)
        for node in np.unique(self._target[page]):
            machine.migrate(page[self._target[page] == node], int(node), self.name)
        went = machine.place[page] != home
        self._shadow[page[went]] = home[went]
        self._queued[page[went]] = False
        failed: U32 = page[~went]
        return failed

    def _make_room(self, world: LabWorld) -> int:
        """Give up shadows, and demote from each top-tier node; returns how many pages went down."""
        self._give_up_shadows(world)
        return sum(self._demote(world, node) for node in world.machine.top_nodes)

    def _give_up_shadows(self, world: LabWorld) -> None:
        """Shadows take no more than their node has free."""
        machine = world.machine
        for node in np.flatnonzero(machine.lower):
            page = np.flatnonzero(self._shadow == node)
            room = max(0, int(machine.free_pages[node] - machine.high_pages[node]))
            self._shadow[page[: max(0, len(page) - room)]] = NOWHERE

    def _demote(self, world: LabWorld, node: int) -> int:
        """kswapd of `node`: when it is below its low watermark, it demotes the oldest pages up to the high one."""
        machine, thread = world.machine, f"kswapd{node}"
        if machine.free_pages[node] >= machine.low_pages[node]:
            return 0
        wanted = min(
            int(machine.high_pages[node] - machine.free_pages[node]), machine.pages_in_budget(thread)
        )
        cold = machine.oldest(node, wanted, thread)
        world.decisions.move(cold, Moved.COLD)
        for below in np.flatnonzero(machine.lower):
            remap(machine, cold[self._shadow[cold] == below], int(below), thread)
        machine.demote(cold[machine.place[cold] == node], node, thread)
        went = cold[machine.place[cold] != node]
        self._shadow[went] = NOWHERE
        return len(went)

    def tracker_bytes(self) -> int:
        """A pointer for each shadow."""
        return 8 * int(np.count_nonzero(self._shadow != NOWHERE))

    def counters(self) -> dict[str, int]:
        return {"numa_hint_faults": self._faults, "pgpromote_candidate": self._promotable}
