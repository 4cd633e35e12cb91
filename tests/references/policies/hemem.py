"""Slow, plain versions of the kernels of `pghot.policies.hemem`."""

from __future__ import annotations

from pghot.arrays import I32, I64
from pghot.policies.hemem import COOL_COUNT


def count_samples_reference(unit: I64, count: I32) -> int:
    """`count_samples`, which halves all counts at once."""
    halved = 0
    for sampled in unit:
        count[sampled] += 1
        if count[sampled] >= COOL_COUNT:
            count >>= 1
            halved += 1
    return halved
