"""Slow, plain versions of the kernels of `pghot.engine.precise`."""

from __future__ import annotations

from pghot.arrays import I16, U8, U32, Bool
from pghot.engine.precise import NO_NODE


def record_precise_reference(
    page: U32,
    node: I16,
    count: U32,
    place: U8,
    eligible: Bool,
    records: U32,
    hot: U8,
    held: U8,
    now: int,
    window_ms: int,
    threshold: int,
) -> int:
    """`record_precise` by the published rule, one access report at a time."""
    recorded = 0
    for p, nid, nr in zip(page.tolist(), node.tolist(), count.tolist(), strict=True):
        if nr == 0:
            continue
        held[p // 32768] = 1
        if not eligible[place[p]]:
            continue
        recorded += nr
        old = int(records[p])
        old_nid, old_frequency, old_time = old % 1024, old // 1024 % 8, old // 8192 % 16384
        stale = (now - old_time) % 16384 > window_ms
        frequency = min(7, nr if stale else old_frequency + nr)
        if nid == -1:
            nid = old_nid if old else NO_NODE
        ready = frequency >= threshold
        records[p] = nid + 1024 * frequency + 8192 * now + 2**31 * ready
        if ready:
            hot[p // 32768] = 1
    return recorded
