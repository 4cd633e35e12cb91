"""The seam of the policies: who moves which page where.

Every policy file holds classes with the same methods in the same order: `start`, `observe`, `act`,
`tracker_bytes`, `counters`. A policy of your own joins through an entry point of the group "pghot.policies"
that names a class whose constructor needs no arguments; what it takes are the policy's options.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np

from pghot.arrays import U32
from pghot.engine.accesses import Accesses, Source
from pghot.policies.machine import Machine

# The group of entry points in which other packages name their policies, and what such a class has to declare.
GROUP = "pghot.policies"
DECLARES = ("name", "summary", "kind", "default_sources", "any_source", "runs_live")
KINDS = ("baseline", "bound", "static", "mover", "oracle")


@dataclass(slots=True)
class World:
    """What a policy is given for one run.

    machine  the lab's or, live, the one we run on
    scale    `--scale-time`: kernel time runs faster by it, byte quantities shrink by it; 1 live
    seed     for a policy that draws random numbers; 0 live
    """

    machine: Machine
    pages: int
    page_bytes: int
    scale: float
    seed: int

    @property
    def now_ms(self) -> float:
        """Kernel milliseconds since the run began."""
        return self.machine.now_ns * self.scale / 1e6

    @property
    def fast_node(self) -> int:
        """The top-tier node that pages go to when nothing says which."""
        return self.machine.top_nodes[0]

    @property
    def slow_node(self) -> int:
        """The last node of the lowest tier."""
        rank = self.machine.rank
        return int(len(rank) - 1 - np.argmax(rank[::-1]))

    def scaled_pages(self, size_bytes: float) -> int:
        """A byte quantity of the kernel's (a chunk, a scan step) in pages of this run, at least 1."""
        return max(1, int(size_bytes / self.page_bytes / self.scale))


W = TypeVar("W", bound=World)
W_contra = TypeVar("W_contra", bound=World, contravariant=True)


class Policy(Protocol[W_contra]):
    """A promotion policy, for the worlds that it can work in: `Policy[World]` runs in both halves.

    name             as in `--policies`
    summary          one line for `pghot list policies`
    default_sources  the sources it listens to when the user names none; empty: it listens to none
    any_source       True when `--sources` may choose others
    runs_live        True when `pghot run` and the daemon can use it; else it needs what only the lab has
    kind             one of `KINDS`; "static" chooses a placement and moves nothing
    """

    name: str
    summary: str
    kind: str
    default_sources: tuple[str, ...]
    any_source: bool
    runs_live: bool

    def start(self, world: W_contra) -> None:
        """Build state and say where first-touched pages go (`world.machine.preferred`)."""

    def observe(self, world: W_contra, source: Source, accesses: Accesses) -> None:
        """What one source saw in the slice that just ended."""

    def act(self, world: W_contra) -> None:
        """Move pages; called once after each slice."""

    def tracker_bytes(self) -> int:
        """Bytes that the policy keeps for its tracking."""

    def counters(self) -> dict[str, int]:
        """Counters under their kernel names."""


def by_kind(policy: type[Policy[Any]]) -> tuple[int, bool, str]:
    """Sorts policies for lists: by kind, within a kind those first that run live, then by group."""
    return KINDS.index(policy.kind), not policy.runs_live, group_of(policy)


def group_of(policy: type[Policy[Any]]) -> str:
    """The name that `--policies` knows it and others by, which a class may have as `group`; empty without."""
    return str(getattr(policy, "group", ""))


@runtime_checkable
class Forgets(Protocol):
    """What a policy that runs live has besides, when it remembers pages."""

    def forget(self, page: U32) -> None:
        """These pages are gone (unmapped, or their program is): their numbers will mean others."""


@runtime_checkable
class SomeInTheLab(Protocol):
    """What a policy that runs live has besides, when some of its options only mean something in the lab."""

    def lab_options(self) -> list[str]:
        """Those that it was given, as the user wrote them."""


class Passive(Generic[W]):
    """The parts of a policy that neither listens nor moves: placement policies derive from it."""

    kind = "static"
    default_sources: tuple[str, ...] = ()
    any_source = False
    runs_live = False

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
