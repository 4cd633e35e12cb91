"""Slow, plain versions of the kernels of `pghot.engine.packed`."""

from __future__ import annotations

from pghot.arrays import U8
from pghot.engine.packed import Records


def sweep_reference(records: Records, time_shift: int, mask: int, stamp: int, limit: int) -> int:
    """`sweep` one record at a time."""
    dropped = 0
    for page, record in enumerate(records.tolist()):
        if record and (stamp - record // 2**time_shift) % (mask + 1) > limit:
            records[page] = 0
            dropped += 1
    return dropped


def sweep_held_reference(
    records: Records, held: U8, time_shift: int, mask: int, stamp: int, limit: int
) -> int:
    """`sweep_held` as one full walk: the flags only say where there is nothing to find."""
    dropped = sweep_reference(records, time_shift, mask, stamp, limit)
    for section in range(len(held)):
        held[section] &= records[section * 32768 : (section + 1) * 32768].any()
    return dropped
