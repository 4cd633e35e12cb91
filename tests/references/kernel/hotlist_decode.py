"""Slow, plain versions of the kernels of `pghot.kernel.hotlist_decode`."""

from __future__ import annotations

from pghot.arrays import I64, U64
from pghot.kernel.hotlist import CORRUPT, COUNT, FOUND, MARKER, TAIL, UNIT


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
