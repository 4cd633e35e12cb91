"""The seam of the policies: who moves which page where.

Every policy file holds one class with the same methods in the same order: `start`, `observe`, `act`,
`tracker_bytes`, `counters`. A policy of your own joins through an entry point of the group "pghot.policies"
that names a class or function taking no required arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from pghot.arrays import I64, U32
from pghot.engine.accesses import Accesses
from pghot.errors import UsageError
from pghot.policies.machine import Machine
from pghot.recording.trace import Region, TraceInfo

if TYPE_CHECKING:
    from pghot.sim.machine.simulated import SimulatedMachine

_LIVE_HINT = "policies that run live: pghot-default, pghot-precise, pghot-hashed, hemem"


class Foresight(Protocol):
    """What only an oracle may ask: the future of the trace."""

    def total_misses(self) -> I64:
        """int64[pages]: misses of each page over the whole trace."""

    def next_epoch(self) -> tuple[U32, U32]:
        """Pages and misses of the epoch that begins now; empty at the end of the run."""


@dataclass(slots=True)
class World:
    """What a policy is given for one run.

    machine      the lab's or, live, the one we run on
    foresight    None live
    scale        `--scale-time`: kernel time runs faster by it, byte quantities shrink by it
    epoch_ended  True in the `act` that closes an epoch
    """

    machine: Machine
    info: TraceInfo
    pages: int
    page_bytes: int
    regions: Sequence[Region]
    scale: float
    seed: int
    foresight: Foresight | None
    epoch_ended: bool = False

    @property
    def simulated(self) -> SimulatedMachine:
        """The machine of the lab. Raises `UsageError` live: the policy uses what only a simulation has."""
        from pghot.sim.machine.simulated import SimulatedMachine  # live runs do without it

        if not isinstance(self.machine, SimulatedMachine):
            raise UsageError(
                "this policy runs in the lab only",
                _LIVE_HINT,
            )
        return self.machine

    @property
    def future(self) -> Foresight:
        """What only an oracle may ask. Raises `UsageError` live."""
        if self.foresight is None:
            raise UsageError(
                "an oracle runs in the lab only",
                _LIVE_HINT,
            )
        return self.foresight

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


class Policy(Protocol):
    """A promotion policy.

    name             as in `--policies`
    summary          one line for `pghot list policies`
    default_sources  the sources it listens to when the user names none; empty: it listens to none
    any_source       True when `--sources` may choose others
    runs_live        True when `pghot run` and the daemon can use it; else it needs what only the lab has
    kind             "baseline", "bound", "static" (chooses a placement, moves nothing), "mover" or "oracle"
    """

    name: str
    summary: str
    kind: str
    default_sources: tuple[str, ...]
    any_source: bool
    runs_live: bool

    def start(self, world: World) -> None:
        """Build state and say where first-touched pages go (`world.machine.preferred`)."""

    def observe(self, world: World, source: str, accesses: Accesses) -> None:
        """What one source saw in the slice that just ended."""

    def act(self, world: World) -> None:
        """Move pages; called once after each slice."""

    def tracker_bytes(self) -> int:
        """Bytes that the policy keeps for its tracking."""

    def counters(self) -> dict[str, int]:
        """Counters under their kernel names."""


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


def check_live(policy: Policy) -> None:
    """Raise `UsageError` for a policy that does not run live, or has options that only the lab can honour."""
    if not getattr(policy, "runs_live", True):  # one of another package may not say
        raise UsageError(f"the policy '{policy.name}' runs in the lab only", _LIVE_HINT)
    if isinstance(policy, SomeInTheLab) and (given := policy.lab_options()):
        raise UsageError(
            f"only the lab can honour {', '.join(f'{policy.name}.{option}' for option in given)}",
            "leave it out: `pghot compare` takes it, a live run does not",
        )


class Passive:
    """The parts of a policy that neither listens nor moves: placement policies derive from it."""

    kind = "static"
    default_sources: tuple[str, ...] = ()
    any_source = False
    runs_live = False

    def start(self, world: World) -> None:
        """First touch decides."""

    def observe(self, world: World, source: str, accesses: Accesses) -> None:
        """Listens to nothing."""

    def act(self, world: World) -> None:
        """Moves nothing."""

    def tracker_bytes(self) -> int:
        return 0

    def counters(self) -> dict[str, int]:
        return {}
