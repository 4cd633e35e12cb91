"""Slow, plain versions of the kernels of `pghot.policies.hemem`."""

from __future__ import annotations

from pghot.arrays import I32, I64, Bool


def count_samples_reference(
    unit: I64, count: I32, hot: Bool, rounds: int, freq_threshold: int, cooling_samples: int
) -> int:
    """`count_samples`, which halves all counts at once."""
    halved = first = 0
    ends = [len(unit) * part // rounds for part in range(1, rounds + 1)]
    for number, sampled in enumerate(unit, 1):
        count[sampled] += 1
        if count[sampled] >= cooling_samples:
            count >>= 1
            halved += 1
        if number in ends:
            part = unit[first:number]
            hot[part] |= count[part] >= freq_threshold
            first = number
    return halved
