"""The compiled pass over hot lists (`pghot.kernel.hotlist`).

The source imports it where it reads an area: naming it must load no Numba.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import I64, U8, U64, Int
from pghot.jit import njit
from pghot.kernel.hotlist import CORRUPT, COUNT, FOUND, MARKER, TAIL, UNIT, HotList
from pghot.kernel.ring_order import barrier


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
