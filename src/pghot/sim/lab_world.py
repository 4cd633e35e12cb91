"""What the lab gives a policy beyond `World`: a simulated machine and, for oracles, the future."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pghot.arrays import F64, I64, U8, U32
from pghot.policies.policy import World
from pghot.recording.trace import Region
from pghot.sim.machine.simulated import SimulatedMachine


@dataclass(frozen=True, slots=True)
class Tried:
    """What a pass takes with a fixed placement.

    busiest_share  of its bandwidth that the busiest node has in use, on average
    busiest_epoch  the same in the epoch in which this is most
    price_ns       float64[epochs, nodes]  how much longer it takes for one more latency waited for on a node
    byte_ns        float64[epochs, nodes]  and for one more byte that is moved to or from it
    """

    ns: float
    busiest_share: float
    busiest_epoch: float
    price_ns: F64
    byte_ns: F64


class Foresight(Protocol):
    """The future of the trace, which only oracles may ask for."""

    def total_misses(self) -> I64:
        """int64[pages]: misses of each page over the whole trace."""

    def total_sequential(self) -> I64:
        """int64[pages]: those of them that prefetchers follow."""

    def epochs_left(self) -> int:
        """Epochs to the end of the run, with the one that begins now."""

    def coming_misses(self, epochs: int | None) -> F64:
        """float64[pages]: misses of each page in so many of them; None: in all. The array is used again."""

    def epochs_of_a_pass(self) -> Iterator[tuple[U32, I64]]:
        """Pages and misses of each epoch of a pass over the trace."""

    def try_pass(self, place: U8) -> Tried:
        """A pass over the trace in which every page stays on its node of `place` (uint8[pages])."""

    def next_epoch_ns(self, place: U8, move: Callable[[SimulatedMachine], None] | None = None) -> float:
        """How long the epoch that begins now would take from this placement (uint8[pages]).

        move  moves pages at its beginning; None: none moves
        """


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
