"""Slow, plain versions of the kernels of `pghot.lab.measures`."""

from __future__ import annotations

import numpy as np

from pghot.arrays import F64, U32, Bool


def note_promoted_reference(
    promoted: U32, hot_since_ns: F64, is_hot: Bool, now_ns: float, waited_ns: F64
) -> tuple[int, int]:
    """`note_promoted` with index arrays."""
    since = hot_since_ns[promoted]
    answered = ~np.isnan(since)
    count = int(np.count_nonzero(answered))
    waited_ns[:count] = now_ns - since[answered]
    hot_since_ns[promoted[answered]] = np.nan
    return count, int(np.count_nonzero(is_hot[promoted]))
