"""Requests for blocks of a disk as accesses of the pages that they cover."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pghot.arrays import U32, U64, Bool
from pghot.recording.importers.importer import Accesses, Found, accesses

BLOCK_BYTES = 512
WRITE_COMMANDS = (0x0A, 0x2A, 0x8A, 0xAA)  # WRITE(6), (10), (16) and (12) of SCSI
_MOST_BYTES = 32 << 20  # of one request: far more than any SCSI device takes
_LAST_BLOCK = 1 << 54  # an address has 63 bits
_AT_A_TIME = 1 << 20


def page_accesses(time_ns: U64, block: U64, size_bytes: U32, write: Bool, found: Found) -> Iterator[Accesses]:
    """Each page that a request covers, in order. Requests that no disk can serve are left out and counted."""
    good = (size_bytes <= _MOST_BYTES) & (block < _LAST_BLOCK)
    if not good.all():
        found.losses["requests larger than 32 MiB or behind any disk's end"] += int(np.count_nonzero(~good))
        time_ns, block, size_bytes, write = time_ns[good], block[good], size_bytes[good], write[good]
    first = block.astype(np.uint64) * np.uint64(BLOCK_BYTES)
    last = first + np.maximum(size_bytes, 1).astype(np.uint64) - np.uint64(1)
    pages = ((last >> np.uint64(12)) - (first >> np.uint64(12))).astype(np.int64) + 1
    ends = np.cumsum(pages)
    begin = 0
    while begin < len(pages):
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _AT_A_TIME)))
        part = slice(begin, end)
        number = np.arange(int(pages[part].sum())) - np.repeat(ends[part] - pages[part] - before, pages[part])
        address = np.repeat(first[part], pages[part]) + number.astype(np.uint64) * np.uint64(4096)
        yield accesses(address, np.repeat(time_ns[part], pages[part]), np.repeat(write[part], pages[part]))
        begin = end
