"""The compiled pass over hot lists, apart from `pghot.kernel.hotlist` so that naming a source loads no Numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from pghot.arrays import I64, U64
from pghot.kernel.hotlist import CORRUPT, COUNT, FOUND, MARKER, TAIL, UNIT
from pghot.kernel.ring_order import barrier

Int = Any


@njit(cache=True)
def decode(ring: U64, tail: Int, head: Int, fields: U64, counts: I64) -> None:
    """`decode_hotlist` on the area as uint64[N/8]."""
    barrier()
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
    barrier()


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
