"""The seam of the policies, which decide where each page goes.

Every policy file holds classes with the same methods in the same order: `start`, `observe`, `act`,
`tracker_bytes`, `counters`. To add a policy of your own, name its class in an entry point of the group
"pghot.policies". Its constructor must work without arguments; the arguments that it takes are the policy's options.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np

from pghot.arrays import I32, U32
from pghot.engine.accesses import Accesses, Source
from pghot.policies.decisions import DecisionCounts, Decisions
from pghot.policies.machine import Machine
from pghot.ties import first_page

# The group of entry points in which other packages name their policies, and what such a class must declare.
GROUP = "pghot.policies"
DECLARES = ("name", "summary", "kind", "default_sources", "any_source", "runs_live")
KINDS = ("baseline", "bound", "static", "mover", "oracle")


@dataclass(slots=True)
class World:
    """What a policy is given for one run.

    machine      the lab's, or in a live run the one that pghot runs on
    group_pages  real pages that one page stands for, K in the lab: kernel time runs K times faster than the machine's
                 clock, and byte quantities are divided by K; 1 in a live run
    seed         for a policy that draws random numbers, and for the order of equals; 0 in a live run
    decisions    hears what the policy decides, and why
    """

    machine: Machine
    pages: int
    page_bytes: int
    group_pages: float
    seed: int
    decisions: Decisions = field(default_factory=DecisionCounts, kw_only=True)

    @property
    def now_ms(self) -> float:
        """Kernel milliseconds since the run began."""
        return self.machine.now_ns * self.group_pages / 1e6

    @property
    def first_page(self) -> int:
        """The page that scans in the order of page numbers begin at, see `pghot.ties`."""
        return first_page(self.seed, self.pages)

    @property
    def fast_node(self) -> int:
        """The top-tier node that pages go to when no other is named."""
        return self.machine.top_nodes[0]

    @property
    def slow_node(self) -> int:
        """The last node of the lowest tier."""
        rank = self.machine.rank
        return int(len(rank) - 1 - np.argmax(rank[::-1]))

    def pages_of(self, size_bytes: float) -> float:
        """A byte quantity of the kernel (a chunk, a scan step) in pages of this run: less than 1 in a large group.

        Who spends it carries the fraction on (`pghot.carry`).
        """
        return size_bytes / self.page_bytes / self.group_pages


W = TypeVar("W", bound=World)
W_contra = TypeVar("W_contra", bound=World, contravariant=True)


class Policy(Protocol[W_contra]):
    """A promotion policy, by the kind of world it needs: `Policy[World]` runs in both halves.

    name             as in `--policies`
    summary          one line for `pghot list policies`
    default_sources  the sources it listens to when the user names none; empty: it listens to none
    any_source       True if `--sources` may choose others
    runs_live        True if `pghot run` and the daemon can use it; else it needs what only the lab has
    kind             one of `KINDS`; "static" chooses a placement and moves nothing
    awaits           what a kernel still lacks to do this by itself, in words; empty: a released kernel does it. A
                     policy that does not say awaits "a kernel patch"
    demotes          it picks the pages to demote itself; one that does not say leaves that to the machine
    moves_in_fault   it promotes in the thread that took a hint fault; one that does not say has threads of its own
    """

    name: str
    summary: str
    kind: str
    default_sources: tuple[str, ...]
    any_source: bool
    runs_live: bool

    def start(self, world: W_contra) -> None:
        """Set up state, and say where pages go at first touch (`world.machine.preferred`)."""

    def observe(self, world: W_contra, source: Source, accesses: Accesses) -> None:
        """Take in what one source saw in the slice that just ended."""

    def act(self, world: W_contra) -> None:
        """Move pages; called once after each slice."""

    def tracker_bytes(self) -> int:
        """Bytes of memory that the policy's tracking takes."""

    def counters(self) -> dict[str, int]:
        """Counters under their kernel names."""


def by_kind(policy: type[Policy[Any]]) -> tuple[int, bool, str]:
    """Sort key for lists of policies: by kind; within a kind, those that run live first; then by group."""
    return KINDS.index(policy.kind), not policy.runs_live, group_of(policy)


def group_of(policy: type[Policy[Any]]) -> str:
    """The name by which `--policies` selects this policy together with others: its class's `group`, or empty."""
    return str(getattr(policy, "group", ""))


@runtime_checkable
class Forgets(Protocol):
    """What a policy that runs live must have as well if it remembers pages."""

    def forget(self, page: U32) -> None:
        """These pages are gone (unmapped, or their program ended). Their numbers will be used for other pages."""


@runtime_checkable
class SomeInTheLab(Protocol):
    """What a policy that runs live must have as well if some of its options have a meaning only in the lab."""

    def lab_options(self) -> list[str]:
        """Such options that it was given, as the user wrote them."""


@runtime_checkable
class TellsHeat(Protocol):
    """What a policy has that can say how often it has counted a page: the log of decisions has it then.

    Its option `freq_threshold`, or else an attribute `hot_from`, is the count from which on a page is hot.
    """

    def heat(self, page: U32) -> I32:
        """What it has counted of these pages, in its own units: int32[K]. In `hold` and `move`, before it forgets."""


class Passive(Generic[W]):
    """A base for policies that neither listen nor move, such as placements."""

    kind = "static"
    default_sources: tuple[str, ...] = ()
    any_source = False
    runs_live = False
    awaits = ""

    def start(self, world: W) -> None:
        """First touch decides."""

    def observe(self, world: W, source: Source, accesses: Accesses) -> None:
        """Listens to nothing."""

    def act(self, world: W) -> None:
        """Moves nothing."""

    def tracker_bytes(self) -> int:
        return 0

    def counters(self) -> dict[str, int]:
        return {}
