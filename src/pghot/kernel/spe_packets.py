"""Packets of Arm's Statistical Profiling Extension (Arm Architecture Reference Manual, chapter "Statistical Profiling
Extension Sample Record Specification"), decoded into arrays.

A sampled operation leaves a record of packets: addresses, the events it met, its latency. The record ends with an End
or a Timestamp packet. A packet is a header of one byte, or two, and a payload whose size stands in bits 4-5 of the
last header byte:

    0000 0000                padding            0000 0001                end of the record
    01ss 0010  events        01ss 0011  data source        0110 01cc  context (4 bytes)
    0111 0001  timestamp     0100 10cc  operation type     1011 0iii  address i     1001 1iii  counter i
    0010 00ii  first byte of a two-byte header: addresses and counters with larger numbers, or alignment
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

# Rows of `Records.fields`.
PHYS_ADDR, VIRT_ADDR, EVENTS, SOURCE, LATENCY, OPERATION, CONTEXT, TIMESTAMP, HAS = range(9)
_ROWS = 9
# What a pass counts.
TAIL, FOUND, OTHER, CORRUPT = range(4)
_COUNTS = 4

# Bits of the EVENTS row, from the Events packet.
EVENT_LLC_MISS = 1 << 9
EVENT_REMOTE_ACCESS = 1 << 10
# OPERATION: class in bits 8-9 (1: load, store or atomic), the packet's payload below; its bit 0 says store.
OPERATION_IS_MEMORY = 1 << 8
OPERATION_IS_STORE = 1 << 0

_ADDRESS_VIRT, _ADDRESS_PHYS, _COUNTER_TOTAL = 2, 3, 0
_ADDRESS_MASK = (1 << 56) - 1  # the top byte holds tags, or says whether the address is secure
_ANY_ADDRESS = 1 << PHYS_ADDR | 1 << VIRT_ADDR


@dataclass(slots=True)
class Records:
    """Room for decoded records, sized once.

    fields  uint64[9, K]  a row for each of PHYS_ADDR, VIRT_ADDR (bytes, top byte cleared), EVENTS, SOURCE (its meaning
                          depends on the CPU), LATENCY (cycles), OPERATION, CONTEXT, TIMESTAMP, and HAS: bit r says
                          that the record had row r; the others are 0
    counts  int64[4]      of the last pass: new TAIL in bytes, FOUND records with a data address, OTHER records,
                          CORRUPT runs of bytes that are no packets
    """

    fields: U64
    counts: I64

    @classmethod
    def sized(cls, records: int) -> Records:
        return cls(np.zeros((_ROWS, records), np.uint64), np.zeros(_COUNTS, np.int64))


def decode_records(ring: U8, tail: int, head: int, out: Records) -> int:
    """Decode the records in bytes [tail, head) of an AUX area, a power of two of bytes; returns how many `out` got.

    `out.counts[TAIL]` says how far the pass came: less than `head` when `out` was full, then the first byte after the
    last record decoded. Bytes that are no packet cost the record they are in, and nothing more. A record that stops
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
    counts[:] = 0
    mask: Int = ring.shape[0] - 1
    record = np.zeros(_ROWS, np.uint64)
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


def decode_reference(ring: U8, tail: int, head: int, fields: U64, counts: I64) -> None:
    """`decode` packet by packet in plain Python."""
    data = bytes(ring[at % len(ring)] for at in range(tail, head))
    counts[:] = 0
    found, at, done, damaged = 0, 0, 0, False
    record = [0] * _ROWS
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
        done, damaged, record = at, False, [0] * _ROWS
    else:
        counts[CORRUPT] += bool(record[HAS]) and not damaged
        done = len(data)
    counts[TAIL], counts[FOUND] = tail + done, found
