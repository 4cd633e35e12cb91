"""Slow, plain versions of the kernels of `pghot.live.machine.fault_latency`."""

from __future__ import annotations

from pghot.arrays import I64, U8, U32
from pghot.live.machine.sections import SECTION_SHIFT
from pghot.policies.live_rules import FAST_FAULT, SLOW_FAULT


def judge_reference(
    scan: U8, scan_now: U8, scan_ms: I64, page: U32, now_ms: int, threshold_ms: int, count: U32
) -> None:
    """`judge` in plain Python."""
    for i, p in enumerate(page.tolist()):
        s = p >> SECTION_SHIFT
        if scan[p] == scan_now[s]:
            scan_now[s] = scan_now[s] % 255 + 1
            scan_ms[s] = now_ms
        scan[p] = scan_now[s]
        count[i] = FAST_FAULT if now_ms - scan_ms[s] <= threshold_ms else SLOW_FAULT
