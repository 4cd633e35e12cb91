"""Slow, plain versions of the kernels of `pghot.lab.measures`."""

from __future__ import annotations

import numpy as np

from pghot.arrays import F64, NOWHERE, U8, U32, Bool


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


def turn_hot_reference(
    hot: U32,
    before: U32,
    earlier: U32,
    now_hot: Bool,
    was_hot: Bool,
    place: U8,
    lower: Bool,
    now_ns: float,
    hot_since_ns: F64,
) -> int:
    """`turn_hot` with index arrays."""
    now_hot[earlier] = False
    now_hot[hot] = True
    cooled = before[~np.isnan(hot_since_ns[before]) & ~now_hot[before]]
    hot_since_ns[cooled] = np.nan
    turned = hot[~was_hot[hot]]
    placed = place[turned]
    above = (placed != NOWHERE) & ~lower[np.minimum(placed, len(lower) - 1)]
    hot_since_ns[turned[~above]] = now_ns
    return len(cooled)


def count_on_top_reference(hot: U32, place: U8, lower: Bool, hot_since_ns: F64) -> tuple[int, int]:
    """`count_on_top` with index arrays."""
    placed = hot[place[hot] != NOWHERE]
    on_top = placed[~lower[place[placed]]]
    hot_since_ns[on_top] = np.nan
    return len(placed), len(on_top)
