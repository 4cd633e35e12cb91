"""The `precise` store: four bytes for each page (pghot v4..v8, FACTS section 2).

Bits 0-9 accessing node (1023 = unknown) · 10-12 frequency (at most 7) · 13-26 time in ms · 31 READY.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pghot.arrays import I16, U8, U32, Bool, Int
from pghot.engine.accesses import Accesses
from pghot.engine.packed import SECTION_SHIFT, PackedStore, Records
from pghot.engine.prefetch import AHEAD, prefetch
from pghot.engine.settings import EngineSettings
from pghot.jit import njit

NO_NODE = 1023


def targets_by_nid(settings: EngineSettings) -> I16:
    """The top-tier node for every value of a record's 10-bit node field: int16[1024]."""
    return np.array([settings.target_of(node) for node in range(NO_NODE + 1)], np.int16)


class PreciseStore(PackedStore):
    """1 GiB for a TiB of 4 KiB pages."""

    name = "precise"
    summary = "four bytes a page: frequency to 7, time in ms, accessing node (pghot v4 and later)"
    TIME_SHIFT = 13
    TIME_BITS = 14
    TICK_SHIFT = 0
    MAX_FREQUENCY = 7
    READY = 0x8000_0000
    WINDOW_MS = 5000

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings, np.zeros(settings.pages, np.uint32))
        self._targets = targets_by_nid(settings)

    def _update(self, accesses: Accesses, place: U8, eligible: Bool) -> int:
        return int(
            record_precise(
                accesses.page,
                accesses.node,
                accesses.count,
                place,
                eligible,
                self.records,
                self.hot,
                self.held,
                accesses.time_ms & 0x3FFF,
                self.window_ms,
                self._threshold,
            )
        )

    def _node(self, record: Records) -> npt.NDArray[np.int16]:
        nodes: I16 = self._targets[record & 0x3FF]
        return nodes

    def _frequency(self, record: Records) -> npt.NDArray[Any]:
        return (record >> 10) & 7


@njit(cache=True)
def record_precise(
    page: U32,
    node: I16,
    count: U32,
    place: U8,
    eligible: Bool,
    records: U32,
    hot: U8,
    held: U8,
    now: int,
    window_ms: int,
    threshold: int,
) -> int:
    """Enter accesses of eligible pages; return how many accesses those were.

    page, node, count  uint32[K], int16[K], uint32[K]; a node of -1 leaves the record's node as it is
    place              uint8[pages]   index into eligible, bool[256]
    records            uint32[pages]
    hot                uint8[sections], set where a record is READY
    held               uint8[sections], set for each of the pages with a count
    now                kernel ms modulo 16384
    """
    # All of the new record but its node, by old frequency plus count, each at most 7.
    by_frequency = np.empty(15, np.int64)
    for total in range(15):
        by_frequency[total] = min(total, 7) << 10 | now << 13 | (total >= threshold) << 31
    # Masks (0 or all ones) instead of branches. In what a source reports it is as good as random whether a page is
    # eligible or its record stale, and mispredicted branches would halve the rate.
    eligible_mask = -eligible.astype(np.int64)
    recorded = 0
    last = page.shape[0] - 1
    for i in range(page.shape[0]):
        ahead = page[min(i + AHEAD, last)]
        prefetch(records, ahead)
        prefetch(place, ahead)
        nr: Int = np.int64(count[i])
        if nr == 0:
            continue
        p = page[i]
        enters = eligible_mask[place[p]]
        recorded += nr & enters
        old: Int = np.int64(records[p])
        stale = (window_ms - ((now - (old >> 13)) & 0x3FFF)) >> 63
        nid: Int = np.int64(node[i])
        if nid < 0:
            nid = NO_NODE if old == 0 else old & 0x3FF
        new = nid | by_frequency[((old >> 10) & 7 & ~stale) + min(nr, 7)]
        new = old ^ ((old ^ new) & enters)
        records[p] = new
        held[p >> SECTION_SHIFT] = 1
        # Where the record was READY before, the flag is set already.
        if new & ~old & 0x80000000:
            hot[p >> SECTION_SHIFT] = 1
    return recorded
