"""Slow, plain versions of the kernels of `pghot.kernel.spe_decode`."""

from __future__ import annotations

from pghot.arrays import I64, U8, U64
from pghot.kernel.spe_decode import _ADDRESS_MASK, _ANY_ADDRESS, classify
from pghot.kernel.spe_packets import (
    CORRUPT,
    FOUND,
    HAS,
    OPERATION,
    OTHER,
    PHYS_ADDR,
    ROWS,
    TAIL,
    TIMESTAMP,
    VIRT_ADDR,
)


def decode_reference(ring: U8, tail: int, head: int, fields: U64, counts: I64) -> None:
    """`decode` packet by packet in plain Python."""
    data = bytes(ring[at % len(ring)] for at in range(tail, head))
    counts[:] = 0
    found, at, done, damaged = 0, 0, 0, False
    record = [0] * ROWS
    while at < len(data):
        second = data[at + 1] if at + 1 < len(data) else 0xFF
        row, header, size = classify.py_func(data[at], second)
        if row == -4:
            step = 1 << ((data[at] & 0xF) + 1)
            at += step - (tail + at) % step
            continue
        if row == -1 or at + header + size > len(data):
            counts[CORRUPT] += not damaged
            damaged = True
            at += 1
            continue
        value = int.from_bytes(data[at + header : at + header + size], "little")
        if row == OPERATION:
            value |= (data[at] & 3) << 8
        elif row in (PHYS_ADDR, VIRT_ADDR):
            value &= _ADDRESS_MASK
        if row >= 0:
            record[row] = value
            record[HAS] |= 1 << row
        at += header + size
        if row not in (-3, TIMESTAMP):
            if not record[HAS] and not damaged:
                done = at
            continue
        if not damaged and record[HAS] & _ANY_ADDRESS:
            if found == fields.shape[1]:
                break
            fields[:, found] = record
            found += 1
        else:
            counts[OTHER] += not damaged
        done, damaged, record = at, False, [0] * ROWS
    else:
        counts[CORRUPT] += bool(record[HAS]) and not damaged
        done = len(data)
    counts[TAIL], counts[FOUND] = tail + done, found
