"""The seam of the hotness stores: where a page's recent accesses are kept and when it counts as hot.

A store is one file of this package. It owns its memory from the start (docs/architecture.md), says how many bytes
that is, and counts what it had to drop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pghot.arrays import I16, I32, I64, U8, U32, Bool
from pghot.engine.accesses import Accesses


@dataclass(slots=True)  # not frozen, see `Accesses`
class Candidates:
    """Hot pages that a store hands to the gate, in the order in which they should be promoted.

    page    uint32[K]  distinct dense pages
    node    int16[K]   the top-tier node each should go to
    age_ms  int64[K]   kernel ms since its last recorded access, as far as the layout knows
    record  uint32[K]  the store's own packed record, so that it can be restored
    """

    page: U32
    node: I16
    age_ms: I64
    record: U32

    def __len__(self) -> int:
        return len(self.page)

    def select(self, which: Bool | I64) -> Candidates:
        """The candidates under a mask, or in the order of an index array."""
        return Candidates(self.page[which], self.node[which], self.age_ms[which], self.record[which])


def no_candidates() -> Candidates:
    """Nothing is hot."""
    return Candidates(
        np.empty(0, np.uint32), np.empty(0, np.int16), np.empty(0, np.int64), np.empty(0, np.uint32)
    )


def hottest_first(candidates: Candidates, frequency: npt.NDArray[np.integer]) -> Candidates:
    """The candidates by falling frequency (0..7), then by rising age, then in their present order.

    Ages are compared in steps of 2 ms up to 16 s, so that the key fits the 16 bits that NumPy sorts by radix.
    """
    recency = np.minimum(candidates.age_ms >> 1, 0x1FFF)
    key = ((7 - frequency.astype(np.int64)) << 13 | recency).astype(np.uint16)
    return candidates.select(np.argsort(key, kind="stable"))


class HotnessStore(Protocol):
    """Records of recent accesses to lower-tier pages.

    name          as in `EngineSettings.store`
    summary       one line for `pghot list stores`
    own_settings  names of the `EngineSettings` that not every store heeds and this one does
    window_ms     kernel ms after which a page starts over (published default unless the settings say otherwise)
    sleep_ms      kernel ms between two rounds of this store's consumer, as published
    batch_nr      pages in one of the consumer's batches, as published
    """

    name: str
    summary: str
    own_settings: tuple[str, ...]
    window_ms: int
    sleep_ms: int
    batch_nr: int

    def record(self, accesses: Accesses, place: U8, eligible: Bool) -> int:
        """Enter the accesses of pages with `eligible[place[page]]` (bool[256]); return how many those were.

        Times do not decrease from call to call.
        """

    def take(self, now_ms: int, rounds: int) -> Candidates:
        """Remove and return the hot pages that `rounds` rounds of the consumer may look at."""

    def restore(self, candidates: Candidates, waiting: bool) -> None:
        """Put taken records back: still hot when `waiting`, else as history until the page's next access.

        A page that has a newer record keeps that one.
        """

    def records_of(self, page: U32) -> U32:
        """The packed record of each page, 0 where there is none: uint32[K]."""

    def frequency(self, record: U32) -> I32:
        """The frequency in each packed record: int32[K]."""

    def forget(self, pages: U32) -> None:
        """Drop the records of these pages: they were unmapped, or their content moved away."""

    def bytes_total(self) -> int:
        """Bytes of memory that the store holds."""

    def counters(self) -> dict[str, int]:
        """The store's own counters, as declared in `pghot.counters`."""
