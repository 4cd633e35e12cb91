"""What a workload file may say. Sizes and shares are read as text too ("64 MiB", "20%"); unknown keys are
errors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from pghot.documents import Strict
from pghot.errors import UsageError
from pghot.quantities import Cores, LinesInFlight, MemorySize, Size
from pghot.units import PAGE_BYTES, parse_share


def _share(value: Any) -> float:
    try:
        return parse_share(str(value))
    except UsageError as error:
        raise ValueError(f"{error}; {error.hint}") from None


Share = Annotated[float, BeforeValidator(_share)]
Slices = Annotated[int, Field(gt=0, le=1 << 24)]
StoredBytes = Annotated[int, Field(ge=1, le=PAGE_BYTES)]
Init = Literal["none", "sequential", "random", "hot-first", "hot-last"]


class RunKeys(Strict):
    """How long and on what a workload runs: the same keys for every kind.

    page_bytes               bytes of one dense page
    slices                   slices after the initialisation; phases bring their own number
    accesses_per_slice       touches of all threads in a slice, in the mean
    instructions_per_access  instructions for each touch
    ns_per_instruction       nominal speed, which gives the virtual time of a slice
    threads                  cores that the lab lets it run on
    synchronous              each node has its part of the threads, and every slice lasts until the slowest node is done
    nodes, partition         accessing nodes, and the share of the pages that only one of them touches;
                             the others are touched by all of them alike
    init                     a first pass that touches every page once: in address order, in random order,
                             hot pages first or last. First-touch placement follows from it.
    stored_bytes             bytes that a compressing device stores for 4 KiB, and for 4 KiB after a write; without
                             it, sizes are drawn from a published distribution
    """

    page_bytes: Annotated[MemorySize, Field(ge=PAGE_BYTES, le=1 << 30)] = PAGE_BYTES
    slices: Slices | None = None
    accesses_per_slice: Annotated[int, Field(gt=0, lt=1 << 31)] = 100_000
    instructions_per_access: Annotated[float, Field(ge=1, le=1e6)] = 4.0
    ns_per_instruction: Annotated[float, Field(ge=1e-6, le=1e4)] = 0.5
    threads: Annotated[Cores, Field(gt=0)] = 1
    nodes: Annotated[int, Field(gt=0, le=64)] = 1
    partition: Share = 0.0
    synchronous: bool = False
    init: Init = "sequential"
    stored_bytes: tuple[StoredBytes, StoredBytes] | None = None

    @field_validator("page_bytes")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("write a power of two, such as '2 MiB'")
        return value


class MasimKeys(RunKeys):
    """slice_ms: how much of masim's time is one slice."""

    slice_ms: Annotated[float, Field(ge=1e-3, le=1e6)] = 20.0


class PatternParameters(Strict):
    """What every access pattern has.

    footprint    bytes that are touched in the long run
    write_share  share of the touches that leave their line dirty
    mlp          misses that one core keeps in flight (FACTS 8: pointer chase 1, random about 10)
    """

    footprint: Annotated[MemorySize, Field(gt=0)] = 256 << 20
    write_share: Share = 0.0
    mlp: LinesInFlight = 10.0


class UniformParameters(PatternParameters):
    kind: Literal["uniform"] = "uniform"


class PointerChaseParameters(PatternParameters):
    """Each access waits for the one before it."""

    kind: Literal["pointer-chase"] = "pointer-chase"
    mlp: LinesInFlight = 1.0


class GupsParameters(PatternParameters):
    """Random updates, most of them in a hot set.

    hot_share    share of the pages that are hot
    hot_traffic  share of the touches that go to them
    scatter      hot pages lie anywhere; otherwise in one range, somewhere
    moves_at     shares of the run at which the hot set moves
    move_share   share of the hot set that is replaced then
    """

    kind: Literal["gups"] = "gups"
    write_share: Share = 0.5
    hot_share: Share = 1 / 3
    hot_traffic: Share = 0.9
    scatter: bool = True
    moves_at: tuple[Share, ...] = ()
    move_share: Share = 1.0


class ZipfParameters(PatternParameters):
    """The page of rank r is touched in proportion to r ** -alpha; ranks are dealt to pages by the seed."""

    kind: Literal["zipf"] = "zipf"
    alpha: Annotated[float, Field(ge=0, le=100)] = 1.0


class SequentialParameters(PatternParameters):
    """One walk over the footprint after the other. stride: bytes from one touch to the next."""

    kind: Literal["sequential"] = "sequential"
    stride: Annotated[Size, Field(gt=0)] = 64
    mlp: LinesInFlight = 20.0


class Phase(Strict):
    """slices: how long; pattern: what, a table with its `kind`."""

    slices: Slices
    pattern: Pattern


class PhasesParameters(Strict):
    """Patterns one after the other in the same pages, all from page 0 on, and again from the first when
    the run is longer."""

    kind: Literal["phases"] = "phases"
    phase: Annotated[tuple[Phase, ...], Field(min_length=1)]


class Tenant(Strict):
    """weight: its part of the accesses is weight / sum of weights; it has an address space of its own."""

    name: str
    weight: Annotated[float, Field(ge=1e-6, le=1e6)] = 1.0
    pattern: Pattern


class MixtureParameters(Strict):
    """Tenants that run at the same time, each in its own pages."""

    kind: Literal["mixture"] = "mixture"
    tenant: Annotated[tuple[Tenant, ...], Field(min_length=1)]


Pattern = Annotated[
    UniformParameters
    | PointerChaseParameters
    | GupsParameters
    | ZipfParameters
    | SequentialParameters
    | PhasesParameters
    | MixtureParameters,
    Field(discriminator="kind"),
]

Phase.model_rebuild()
Tenant.model_rebuild()
PhasesParameters.model_rebuild()
MixtureParameters.model_rebuild()
