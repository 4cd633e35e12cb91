"""The compiled pass over SPE packets (`pghot.kernel.spe_packets`).

The source imports it where it reads an area: naming it must load no Numba.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import I64, U8, U64, Int
from pghot.jit import njit
from pghot.kernel.ring_order import barrier
from pghot.kernel.spe_packets import (
    CONTEXT,
    CORRUPT,
    EVENTS,
    FOUND,
    HAS,
    LATENCY,
    OPERATION,
    OTHER,
    PHYS_ADDR,
    ROWS,
    SOURCE,
    TAIL,
    TIMESTAMP,
    VIRT_ADDR,
    Records,
)

_ADDRESS_VIRT, _ADDRESS_PHYS, _COUNTER_TOTAL = 2, 3, 0
_ADDRESS_MASK = (1 << 56) - 1  # the top byte holds tags, or says whether the address is secure
_ANY_ADDRESS = 1 << PHYS_ADDR | 1 << VIRT_ADDR


def decode_records(ring: U8, tail: int, head: int, out: Records) -> int:
    """Decode the records in bytes [tail, head) of an AUX area, a power of two of bytes; returns how many `out` got.

    `out.counts[TAIL]` says how far the pass came: less than `head` when `out` was full, then the first byte after the
    last record decoded. Bytes that are no packet spoil the record they are in, and nothing more. A record that stops
    at `head` without an end is lost and counted as corrupt.
    """
    decode(ring, tail, head, out.fields, out.counts)
    return int(out.counts[FOUND])


@njit(cache=True)
def classify(first: Int, second: Int) -> tuple[Int, Int, Int]:
    """(row of the packet or a negative code, bytes of header, bytes of payload) from the first two bytes.

    Codes: -1 not a packet, -2 padding, -3 end of the record, -4 alignment, -5 a packet that is not kept.
    """
    if first == 0x00:
        return -2, 1, 0
    if first == 0x01:
        return -3, 1, 0
    if first == 0x71:
        return TIMESTAMP, 1, 8
    payload = 1 << ((first >> 4) & 3)
    if first & 0xCF == 0x42:
        return EVENTS, 1, payload
    if first & 0xCF == 0x43:
        return SOURCE, 1, payload
    if first & 0xFC == 0x64:
        return CONTEXT, 1, payload
    if first & 0xFC == 0x48:
        return OPERATION, 1, payload
    header, index, last = 1, first & 7, first
    if first & 0xFC == 0x20:
        if second == 0x00:
            return -4, 2, 0
        header, index, last = 2, (first & 3) << 3 | second & 7, second
        payload = 1 << ((second >> 4) & 3)
    if last & 0xF8 == 0xB0:
        row = PHYS_ADDR if index == _ADDRESS_PHYS else VIRT_ADDR if index == _ADDRESS_VIRT else -5
        return row, header, payload
    if last & 0xF8 == 0x98:
        return LATENCY if index == _COUNTER_TOTAL else -5, header, payload
    return -1, 1, 0


@njit(cache=True)
def payload_of(ring: U8, at: Int, size: Int) -> Int:
    """Little-endian integer of `size` bytes from byte `at` on."""
    mask: Int = ring.shape[0] - 1
    value = np.uint64(0)
    for i in range(size):
        value |= np.uint64(ring[(at + i) & mask]) << np.uint64(8 * i)
    return value


@njit(cache=True)
def decode(ring: U8, tail: Int, head: Int, fields: U64, counts: I64) -> None:
    """`decode_records` on arrays."""
    barrier()
    counts[:] = 0
    mask: Int = ring.shape[0] - 1
    record = np.zeros(ROWS, np.uint64)
    damaged = False
    at: Int = tail
    found: Int = 0
    counts[TAIL] = tail
    while at < head:
        first: Int = np.int64(ring[at & mask])
        second: Int = np.int64(ring[(at + 1) & mask]) if at + 1 < head else 0xFF
        row, header, size = classify(first, second)
        if row == -4:
            step: Int = 1 << ((first & 0xF) + 1)
            at += step - (at & (step - 1))
            continue
        if row == -1 or at + header + size > head:
            if not damaged:
                counts[CORRUPT] += 1
            damaged = True
            at += 1
            continue
        if row >= 0:
            value: Int = payload_of(ring, at + header, size)
            if row == OPERATION:
                value |= np.uint64((first & 3) << 8)
            elif row == PHYS_ADDR or row == VIRT_ADDR:  # noqa: SIM109 - numba
                value &= np.uint64(_ADDRESS_MASK)
            record[row] = value
            record[HAS] |= np.uint64(1) << np.uint64(row)
        at += header + size
        if row == -3 or row == TIMESTAMP:
            if not damaged and record[HAS] & np.uint64(_ANY_ADDRESS):
                if found == fields.shape[1]:
                    break
                fields[:, found] = record
                found += 1
            elif not damaged:
                counts[OTHER] += 1
            counts[TAIL] = at
            record[:] = 0
            damaged = False
        elif record[HAS] == 0 and not damaged:
            counts[TAIL] = at
    else:
        if record[HAS] != 0 and not damaged:
            counts[CORRUPT] += 1
        counts[TAIL] = head
    counts[FOUND] = found
    barrier()
