"""Slow, plain versions of the kernels of `pghot.engine.packed`."""

from __future__ import annotations

from pghot.engine.packed import Records


def sweep_reference(records: Records, time_shift: int, mask: int, stamp: int, limit: int) -> int:
    """`sweep` one record at a time."""
    dropped = 0
    for page, record in enumerate(records.tolist()):
        if record and (stamp - record // 2**time_shift) % (mask + 1) > limit:
            records[page] = 0
            dropped += 1
    return dropped
