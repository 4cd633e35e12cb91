"""How well a program's pages compress: samples of page contents, taken while it was recorded.

A sample says what one page held at one time: whether it was all zero, one word over and over, or the same as
another page, and how many bytes each `Coding` makes of it. Contents themselves are never kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pghot.arrays import U16, U32, U64
from pghot.errors import UsageError
from pghot.units import PAGE_BYTES

Bytes = npt.NDArray[np.uint8]

ZERO: Final = 1
SAME_FILLED: Final = 2
DUPLICATE: Final = 4


@dataclass(frozen=True, slots=True)
class Coding:
    """An algorithm and the size of the blocks that it compresses by themselves.

    algorithm  "lz4" (raw blocks, no frame) or "zstd" (level 1, frames of some 10 bytes)
    """

    algorithm: str
    block_bytes: int = PAGE_BYTES

    def __str__(self) -> str:
        return f"{self.algorithm} {self.block_bytes} B"


# What the recorder measures. Not smaller zstd blocks: at 256 bytes a frame's own header is 4 % of the block and a
# page costs 0.2 ms; and not single lines of 64 bytes, of which neither algorithm saves more than 4 %
# (docs/recording-format.md, "Compressibility"; devices compress those with other, line-sized codes).
CODINGS: Final = (
    Coding("lz4"),
    Coding("lz4", 1024),
    Coding("lz4", 256),
    Coding("zstd"),
    Coding("zstd", 1024),
)


@dataclass(frozen=True, slots=True)
class Compressibility:
    """Samples of pages, in the order in which they were taken; a page may have been sampled several times.

    page     uint32[K]     dense page of the recording
    time_ns  uint64[K]     virtual time of the recording at which it was read
    flags    uint8[K]      `ZERO`, `SAME_FILLED` (zswap's: one 8-byte word over and over; zero pages are not among
                           them) and `DUPLICATE` (neither, and the same as another page read at that time)
    stored   uint16[C, K]  bytes of the 4 KiB page under each of `codings`: its blocks added up, a block that does
                           not shrink counted with its full size
    origin                 "" when sampled while the accesses were recorded; else where the samples are from
    """

    page: U32
    time_ns: U64
    flags: Bytes
    stored: U16
    codings: tuple[Coding, ...] = CODINGS
    origin: str = ""

    def __len__(self) -> int:
        return len(self.page)

    @property
    def zero(self) -> npt.NDArray[np.bool_]:
        return (self.flags & np.uint8(ZERO)).astype(np.bool_)

    @property
    def same_filled(self) -> npt.NDArray[np.bool_]:
        return (self.flags & np.uint8(SAME_FILLED)).astype(np.bool_)

    @property
    def duplicate(self) -> npt.NDArray[np.bool_]:
        return (self.flags & np.uint8(DUPLICATE)).astype(np.bool_)

    def stored_bytes(self, algorithm: str, block_bytes: int = PAGE_BYTES) -> U16:
        """uint16[K]: bytes of each sampled page. Raises `UsageError` for a coding that was not measured."""
        coding = Coding(algorithm, block_bytes)
        if coding not in self.codings:
            known = ", ".join(str(each) for each in self.codings)
            raise UsageError(f"no sizes for {coding}", f"ask for one that was measured: {known}")
        sizes: U16 = self.stored[self.codings.index(coding)]
        return sizes


@runtime_checkable
class Sampled(Protocol):
    """A trace that knows how well its pages compress."""

    @property
    def compressibility(self) -> Compressibility | None: ...


def compressibility_of(trace: object) -> Compressibility | None:
    """The samples of a trace, None for one without them, as workloads and older recordings are."""
    return trace.compressibility if isinstance(trace, Sampled) else None


def empty(codings: tuple[Coding, ...] = CODINGS) -> Compressibility:
    """No samples."""
    return Compressibility(
        np.empty(0, np.uint32),
        np.empty(0, np.uint64),
        np.empty(0, np.uint8),
        np.empty((len(codings), 0), np.uint16),
        codings,
    )


def concatenate(parts: Sequence[Compressibility]) -> Compressibility:
    """All samples, in order. Raises `ValueError` when the parts were measured with different codings."""
    if not parts:
        return empty()
    if any(part.codings != parts[0].codings for part in parts):
        raise ValueError("samples of different codings")
    return Compressibility(
        np.concatenate([part.page for part in parts]),
        np.concatenate([part.time_ns for part in parts]),
        np.concatenate([part.flags for part in parts]),
        np.concatenate([part.stored for part in parts], axis=1),
        parts[0].codings,
    )


def renumbered(samples: Compressibility, new_page: U32) -> Compressibility:
    """The samples of a trace whose page `p` became `new_page[p]`, as when pages are grouped into folios."""
    return replace(samples, page=new_page[samples.page])
