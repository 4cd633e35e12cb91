"""Byte-exact rings as the kernel and the hardware write them."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np

from pghot.arrays import U8


def ring_of(data: bytes, tail: int, size: int) -> U8:
    """A ring of `size` bytes into which `data` was written from position `tail` on; the rest is 0xEE."""
    assert len(data) <= size
    ring = np.full(size, 0xEE, np.uint8)
    ring[(tail + np.arange(len(data))) % size] = np.frombuffer(data, np.uint8)
    return ring


def record(kind: int, words: Iterable[int], misc: int = 0) -> bytes:
    """A perf record: header and 64-bit words."""
    body = b"".join(struct.pack("<Q", word) for word in words)
    return struct.pack("<IHH", kind, misc, 8 + len(body)) + body


def memory_sample(pid: int, address: int, cpu: int, data_src: int) -> bytes:
    """A PERF_RECORD_SAMPLE of TID | ADDR | CPU | DATA_SRC."""
    return record(9, [pid | (pid + 1) << 32, address, cpu, data_src])


def spe_address(index: int, value: int) -> bytes:
    return bytes([0xB0 | index]) + struct.pack("<Q", value)


def spe_record(
    physical: int | None = None,
    events: int = 0,
    source: int | None = None,
    store: bool = False,
    virtual: int = 0,
    latency: int = 300,
    timestamp: int | None = None,
) -> bytes:
    """The packets of one sampled load or store, in the order in which CPUs write them."""
    parts = [spe_address(0, 0x80000000004008F0), bytes([0x49, 0x01 if store else 0x00])]
    parts.append(bytes([0x52]) + struct.pack("<H", events))
    parts.append(bytes([0x98]) + struct.pack("<H", latency))
    parts.append(spe_address(2, virtual))
    if source is not None:
        parts.append(bytes([0x43, source]))
    if physical is not None:
        parts.append(spe_address(3, physical | 1 << 63))  # bit 63: non-secure
    parts.append(b"\x01" if timestamp is None else b"\x71" + struct.pack("<Q", timestamp))
    return b"".join(parts)


def hot_list(entries: Iterable[tuple[int, int]], width: int = 16) -> bytes:
    """A block of the CXL HMU driver: (unit, count) pairs."""
    words = [unit << width | count for unit, count in entries]
    return struct.pack(f"<{2 + len(words)}Q", len(words) | width << 16, 0xDEADBEEF, *words)
