"""A policy on a machine of a dozen pages, fed reports that a test draws, and the account that must balance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from pghot.arrays import U32
from pghot.engine.accesses import Accesses
from pghot.policies.decisions import DecisionCounts, Decisions
from pghot.policies.machine import Moves
from pghot.policies.policy import Policy
from pghot.recording.trace import Region
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import load_topology
from pghot.sim.policies import POLICIES
from pghot.sim.sources import SOURCES

MS = 1e6  # ns
PAGES = 12
# Kernel ms that pass, what each page missed meanwhile, which of these pages the source reports, and the latency of hint
# faults in ms.
Step = tuple[int, Sequence[int], Sequence[bool], int]
STEPS = st.lists(
    st.tuples(
        st.integers(1, 3_000),
        st.lists(st.integers(0, 40), min_size=PAGES, max_size=PAGES),
        st.lists(st.booleans(), min_size=PAGES, max_size=PAGES),
        st.integers(0, 5_000),
    ),
    max_size=20,
)


class CheckedMachine(SimulatedMachine):
    """A machine that refuses a batch in which a page comes twice."""

    def migrate(self, page: U32, target: int, payer: str, batch_pages: int = 512) -> Moves:
        assert len(np.unique(page)) == len(page), f"{payer} moves a page twice: {page}"
        return super().migrate(page, target, payer, batch_pages)

    def demote(self, page: U32, node: int, thread: str) -> int:
        assert len(np.unique(page)) == len(page), f"{thread} demotes a page twice: {page}"
        assert (self.place[page] == node).all(), f"{thread} demotes from another node: {page}"
        return super().demote(page, node, thread)

    def account(self) -> None:
        """Every page is on the node that says so, and no node holds more than it can."""
        held = np.bincount(self.place[self.place < len(self.lower)], minlength=len(self.lower))
        assert (held + self.free_pages == self.capacity_pages).all()
        assert (self.free_pages >= 0).all()


class SmallBed:
    """`PAGES` pages, of which the first `on_top` are on the first node and the others on the last.

    room         pages that still fit on the first node, above its reserve of one page
    group_pages  real pages that each stands for
    regions      the program's, for policies that look at them
    seed         of the policy's own draws
    listens      makes what hears the policy's decisions; None: they are counted
    """

    def __init__(
        self,
        policy: str,
        on_top: int = 4,
        room: int = 2,
        group_pages: float = 1.0,
        tiers: str = "dram-cxl",
        regions: Sequence[Region] = (),
        seed: int = 0,
        listens: Callable[[SimulatedMachine], Decisions] | None = None,
        **options: Any,
    ) -> None:
        topology = load_topology(tiers)
        nodes = len(topology.nodes)
        sizes = np.full(nodes, 4 * PAGES)
        sizes[0] = on_top + room + 1
        self.machine = machine = CheckedMachine(topology, PAGES, 4096, sizes, 1, group_pages=group_pages)
        machine.place[:on_top], machine.place[on_top:] = 0, nodes - 1
        machine.free_pages[0] -= on_top
        machine.free_pages[nodes - 1] -= PAGES - on_top
        machine.slice_ns = 1_000 * MS
        self._ms = MS / group_pages
        self.policy: Policy[LabWorld] = POLICIES.make(policy, **options)
        self.world = LabWorld(
            machine,
            PAGES,
            4096,
            group_pages,
            seed,
            None,
            regions,
            decisions=listens(machine) if listens else DecisionCounts(group_pages),  # type: ignore[arg-type]
        )
        self.policy.start(self.world)

    def see(
        self,
        at_ms: float,
        counts: dict[int, int],
        source: str = "pebs",
        latency_ms: dict[int, int] | None = None,
    ) -> None:
        """What `source` reports: pages with their counts and, for hint faults, their latency."""
        page = np.array(list(counts), np.uint32)
        seen = Accesses(
            page,
            np.zeros(len(page), np.int16),
            np.array(list(counts.values()), np.uint32),
            int(at_ms),
            latency_ms is not None,
            None if latency_ms is None else np.array([latency_ms[p] for p in counts], np.uint32),
        )
        self.machine.now_ns = at_ms * self._ms
        if counts:
            self.policy.observe(self.world, SOURCES.get(source), seen)
        self.machine.account()

    def fault(self, at_ms: float, latency_ms: dict[int, int]) -> None:
        self.see(at_ms, dict.fromkeys(latency_ms, 1), "hintfaults", latency_ms)

    def act(self, at_ms: float) -> None:
        self.machine.now_ns = at_ms * self._ms
        self.policy.act(self.world)
        self.machine.account()

    def on_top(self) -> set[int]:
        return set(np.flatnonzero(~self.machine.lower[self.machine.place]).tolist())


def played(bed: SmallBed, steps: Sequence[Step]) -> Iterator[None]:
    """Run the machine and the bed's policy through `STEPS`, one at a time."""
    policy = POLICIES.get(bed.policy.name)
    at_ms = 0.0
    for lasts_ms, misses, reported, latency_ms in steps:
        at_ms += lasts_ms
        touched = np.flatnonzero(misses).astype(np.uint32)
        count = np.array(misses, np.uint32)[touched]
        none = np.zeros(len(touched), np.uint32)
        bed.machine.run_slice(touched, count, count, none, none, np.zeros(len(touched), np.int16), 1_000)
        bed.machine.slice_ns = lasts_ms * MS / bed.machine.group_pages
        for source in policy.default_sources:
            lower = SOURCES.get(source).sees == "lower" and not getattr(policy, "every_tier", False)
            seen = {
                int(page): misses[page]
                for page in touched
                if reported[page] and not (lower and int(page) in bed.on_top())
            }
            if SOURCES.get(source).mechanism == "hint fault":
                bed.fault(at_ms, dict.fromkeys(seen, latency_ms))
            else:
                bed.see(at_ms, seen, source)
        bed.act(at_ms)
        yield
