"""The seam of the importers: what a format's reader gives, and what it says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pghot.arrays import U16, U32, U64, Bool
from pghot.errors import PghotError
from pghot.recording.importers.input import Input

MOST_SPACES = 1 << 12  # address spaces of one recording: a page number has 52 bits, and these are above them


class Clock(StrEnum):
    """Where the time of a format comes from.

    OWN           the recording has times
    INSTRUCTIONS  it says how many instructions were executed: each takes `NS_PER_INSTRUCTION`
    DECLARED      it has neither: accesses come at a rate that the user declares
    """

    OWN = "own"
    INSTRUCTIONS = "instructions"
    DECLARED = "declared"


LATEST_NS = 1 << 61  # half of what a recording may hold
NS_PER_INSTRUCTION = 0.5  # as the recorder's: two instructions a nanosecond


@dataclass(frozen=True, slots=True)
class Accesses:
    """Consecutive accesses, as many as a reader has at a time. A column of one item is the same for all.

    time_ns  uint64[N]  for `Clock.DECLARED` all 0
    address  uint64[N]  bytes; of a format of objects, the object
    write    bool[N or 1]    False as well where the format does not say
    count    uint32[N or 1]  accesses that each stands for
    space    uint16[N or 1]  number of the address space, below `MOST_SPACES`
    missed   bool[N or 1]    whether memory had to answer; True as well where the format does not say
    """

    time_ns: U64
    address: U64
    write: Bool
    count: U32
    space: U16
    missed: Bool

    def __len__(self) -> int:
        return len(self.address)


def accesses(
    address: U64,
    time_ns: U64 | None = None,
    write: Bool | None = None,
    count: U32 | None = None,
    space: U16 | None = None,
    missed: Bool | None = None,
) -> Accesses:
    """`Accesses` of which some columns are left out: no time, reads, single, of the first address space, misses."""
    return Accesses(
        np.zeros(len(address), np.uint64) if time_ns is None else time_ns,
        address,
        np.zeros(1, np.bool_) if write is None else write,
        np.ones(1, np.uint32) if count is None else count,
        np.zeros(1, np.uint16) if space is None else space,
        np.ones(1, np.bool_) if missed is None else missed,
    )


def times_too_far() -> PghotError:
    """The error for accesses more than `LATEST_NS` apart."""
    return PghotError(
        "the times in it are further apart than any recording can hold", "look at what recorded it"
    )


@dataclass(slots=True)
class Found:
    """What a reader found out on its way, beside the accesses.

    losses     what could not be used, in words that follow a number, and how often: {"lines that are no access": 3}
    sentences  what this recording does not know, beyond what its format never knows
    lost       accesses or samples that the format itself counts as lost
    period     one access of so many was seen
    """

    losses: Counter[str] = field(default_factory=Counter)
    sentences: list[str] = field(default_factory=list)
    lost: int = 0
    period: int = 1


class Importer(Protocol):
    """A reader of one format, made for one file. What its class declares, one made for a file may know better.

    name          what it is called
    summary       the files that it reads, in words
    clock         where time comes from
    slice_ns      of the recording that is made
    every_access  it holds the single accesses of a program: they pass a model of a cache, and misses remain
    objects       what was accessed are objects of a cache without addresses; each becomes a page
    guessed       0; more where files have no mark, only plausible numbers: such formats are tried last, those that are
                  mistaken most easily at the end
    not_known     sentences: what files of this format never say
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    clock: Clock
    slice_ns: int
    every_access: bool
    objects: bool
    guessed: int
    not_known: tuple[str, ...]
    found: Found

    def __init__(self, source: Input) -> None: ...

    @staticmethod
    def claims(name: str, start: bytes) -> bool:
        """Whether the file of this name, which starts so (unpacked, `START_BYTES` at most), is of this format."""


@runtime_checkable
class GivesRegions(Importer, Protocol):
    """An importer of a format in which regions of memory are accessed as a whole."""

    def regions(self) -> npt.NDArray[np.int64]:
        """int64[5, R]: time in ns, first byte, end, accesses of each page, and number of the address space."""


@runtime_checkable
class GivesAccesses(Importer, Protocol):
    """An importer of a format that holds accesses, or samples of them."""

    def accesses(self) -> Iterator[Accesses]:
        """In the order of the file. Raises `PghotError` that names the offset where the file is damaged."""
