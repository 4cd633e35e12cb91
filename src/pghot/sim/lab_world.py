"""What the lab gives a policy beyond `World`: a simulated machine and, for oracles, the future."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pghot.arrays import I64, U32
from pghot.policies.policy import World
from pghot.recording.trace import Region
from pghot.sim.machine.simulated import SimulatedMachine


class Foresight(Protocol):
    """The future of the trace, which only oracles may ask for."""

    def total_misses(self) -> I64:
        """int64[pages]: misses of each page over the whole trace."""

    def next_epoch(self) -> tuple[U32, I64]:
        """Pages and misses of the epoch that begins now; empty at the end of the run."""


@dataclass(slots=True)
class LabWorld(World):
    """What a policy is given for one run in the lab.

    regions      the named regions of the program's memory, in dense pages
    epoch_ended  True in the `act` that closes an epoch
    """

    machine: SimulatedMachine
    foresight: Foresight
    regions: Sequence[Region] = ()
    epoch_ended: bool = False
