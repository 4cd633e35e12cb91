"""Slow, plain versions of the kernels of `pghot.live.machine.pages`."""

from __future__ import annotations

import numpy as np

from pghot.arrays import U8, U16, U32
from pghot.policies.live_rules import OLDEST


def warm_reference(heat: U16, age: U8, page: U32, count: U32) -> None:
    """`warm` one sighting after the other."""
    for p, more in zip(page.tolist(), count.tolist(), strict=True):
        heat[p] = min(int(heat[p]) + more, 65535)
        age[p] = 0


def cool_reference(heat: U16, age: U8) -> None:
    """`cool` in NumPy."""
    heat[:] = heat // 2
    age[:] = np.minimum(age.astype(np.int64) + 1, OLDEST)
