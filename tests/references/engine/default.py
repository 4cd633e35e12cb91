"""Slow, plain versions of the kernels of `pghot.engine.default`."""

from __future__ import annotations

from pghot.arrays import U8, U32, Bool


def record_default_reference(
    page: U32,
    count: U32,
    place: U8,
    eligible: Bool,
    tick: int,
    window_ms: int,
    threshold: int,
    records: U8,
    hot: U8,
    held: U8,
) -> int:
    """`record_default` by the published rule, one access report at a time."""
    recorded = 0
    for p, nr in zip(page.tolist(), count.tolist(), strict=True):
        held[p // 32768] = 1
        if not eligible[place[p]] or nr == 0:
            continue
        recorded += nr
        old_frequency, old_tick = int(records[p]) % 4, int(records[p]) // 4 % 32
        stale = (tick - old_tick) % 32 * 128 > window_ms
        frequency = min(3, nr if stale else old_frequency + nr)
        ready = frequency >= threshold
        records[p] = frequency + 4 * (tick % 32) + 128 * ready
        if ready:
            hot[p // 32768] = 1
    return recorded
