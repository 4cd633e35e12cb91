"""Slow, plain versions of the kernels of `pghot.sim.user_space.unseen`."""

from __future__ import annotations

import numpy as np

from pghot.arrays import I32, U8, U32, Bool
from pghot.policies.live_rules import COLD_AGE, OLDEST, RETURNED_AGE


def note_seen_reference(page: U32, period: int, seen: I32) -> int:
    """`note_seen` without its scratch."""
    seen[page] = period
    return len(set(page.tolist()))


def longest_unseen_reference(
    node: int, pages: int, period: int, place: U8, seen: I32, was_promoted: Bool, was_demoted: Bool
) -> list[int]:
    """`longest_unseen` with a sort."""
    ages = {int(page): min(period - int(seen[page]), OLDEST) for page in np.flatnonzero(place == node)}
    returned = was_promoted & was_demoted
    cold = [page for page, age in ages.items() if age >= (RETURNED_AGE if returned[page] else COLD_AGE)]
    return sorted(cold, key=lambda page: (-ages[page], page))[:pages]
