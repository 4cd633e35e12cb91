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

import numpy as np

from pghot.arrays import I64, U64

# Rows of `Records.fields`.
PHYS_ADDR, VIRT_ADDR, EVENTS, SOURCE, LATENCY, OPERATION, CONTEXT, TIMESTAMP, HAS = range(9)
ROWS = 9
# What a pass counts.
TAIL, FOUND, OTHER, CORRUPT = range(4)
_COUNTS = 4

# Bits of the EVENTS row, from the Events packet.
EVENT_LLC_MISS = 1 << 9
EVENT_REMOTE_ACCESS = 1 << 10
# OPERATION: class in bits 8-9 (1: load, store or atomic), the packet's payload below; its bit 0 says store.
OPERATION_IS_STORE = 1 << 0


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
        return cls(np.zeros((ROWS, records), np.uint64), np.zeros(_COUNTS, np.int64))
