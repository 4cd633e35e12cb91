"""Hot lists of CXL hotness monitoring units (CXL 3.2, section 8.2.8) as their perf driver hands them over.

The driver is a proposal (drivers/cxl/hmu.c of the series "CXL Hotness Monitoring Unit perf driver", November 2024), in
no released kernel. It copies a device's list into the AUX area in blocks of 64-bit words: two words of header, the
first with the number of entries (bits 0-15) and the width of the counters (bits 16-23), the second a fixed marker,
then the entries: the count in the low `width` bits, the number of the unit of memory above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Int = Any

MARKER = 0xDEADBEEF
UNIT, COUNT = range(2)
TAIL, FOUND, CORRUPT = range(3)
_COUNTS = 3


@dataclass(slots=True)
class HotList:
    """Room for entries, sized once.

    fields  uint64[2, K]  rows UNIT (number of the unit of device memory) and COUNT
    counts  int64[3]      of the last pass: new TAIL in bytes, FOUND entries, CORRUPT blocks
    """

    fields: U64
    counts: I64

    @classmethod
    def sized(cls, entries: int) -> HotList:
        return cls(np.zeros((2, entries), np.uint64), np.zeros(_COUNTS, np.int64))


def decode_hotlist(ring: U8, tail: int, head: int, out: HotList) -> int:
    """Decode the blocks in bytes [tail, head) of an AUX area, a power of two of bytes; returns how many entries `out`
    got.

    `out` should have room for 65535 entries, the largest block: a block that does not fit into what is left of `out`
    waits for the next pass (`out.counts[TAIL]` is then before `head`). A block without its marker, or cut short, ends
    the pass: the rest is skipped and counted as one corrupt block. Raises `ValueError` when `out` is too small.
    """
    if out.fields.shape[1] < 0xFFFF:
        raise ValueError("a hot list may have 65535 entries")
    decode(ring.view(np.uint64), tail, head, out.fields, out.counts)
    return int(out.counts[FOUND])


@njit(cache=True)
def decode(ring: U64, tail: Int, head: Int, fields: U64, counts: I64) -> None:
    """`decode_hotlist` on the area as uint64[N/8]."""
    counts[:] = 0
    mask: Int = ring.shape[0] - 1
    at: Int = tail >> 3
    end: Int = head >> 3
    found: Int = 0
    while at < end:
        header: Int = ring[at & mask]
        if header == 0:  # padding
            at += 1
            continue
        entries: Int = np.int64(header & np.uint64(0xFFFF))
        width: Int = np.int64((header >> np.uint64(16)) & np.uint64(0xFF))
        known: Int = ring[(at + 1) & mask] == np.uint64(MARKER)
        if at + 2 + entries > end or not known or width == 0 or width > 63:
            counts[CORRUPT] += 1
            at = end
            break
        if found + entries > fields.shape[1]:
            break
        for i in range(entries):
            entry: Int = ring[(at + 2 + i) & mask]
            fields[COUNT, found] = entry & ((np.uint64(1) << np.uint64(width)) - np.uint64(1))
            fields[UNIT, found] = entry >> np.uint64(width)
            found += 1
        at += 2 + entries
    counts[TAIL] = at << 3
    counts[FOUND] = found


def decode_reference(ring: U64, tail: int, head: int, fields: U64, counts: I64) -> None:
    """`decode` on a list of Python integers."""
    words = [int(ring[at % len(ring)]) for at in range(tail // 8, head // 8)]
    counts[:] = 0
    at, found = 0, 0
    while at < len(words):
        if words[at] == 0:
            at += 1
            continue
        entries, width = words[at] & 0xFFFF, words[at] >> 16 & 0xFF
        block = words[at + 2 : at + 2 + entries]
        if words[at + 1 : at + 2] != [MARKER] or len(block) < entries or not 1 <= width <= 63:
            counts[CORRUPT] += 1
            at = len(words)
            break
        if found + entries > fields.shape[1]:
            break
        for entry in block:
            fields[UNIT, found], fields[COUNT, found] = entry >> width, entry % (1 << width)
            found += 1
        at += 2 + entries
    counts[TAIL], counts[FOUND] = (tail // 8 + at) * 8, found
