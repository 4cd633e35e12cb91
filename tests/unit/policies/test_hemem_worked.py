"""HeMem's counts in figures worked by hand: a batch counts as its samples would, one after the other."""

from __future__ import annotations

import numpy as np

from pghot.policies.hemem import count_samples


def counted(samples: list[int], count: list[int]) -> tuple[list[int], int]:
    counts = np.array(count, np.int32)
    halved = count_samples(np.array(samples, np.int64), counts, np.zeros(len(count), np.int32))
    return counts.tolist(), halved


def test_all_counts_are_halved_when_one_reaches_18() -> None:
    assert counted([0], [16, 7]) == ([17, 7], 0)
    assert counted([0, 0], [16, 7]) == ([9, 3], 1)


def test_the_samples_of_a_long_batch_are_not_counted_up_before_they_are_halved() -> None:
    # 0 counts up to 18, falls to 9, and needs nine more each time: 36 samples halve at the 18th, 27th and 36th.
    assert counted([0] * 36, [0, 17]) == ([9, 2], 3)


def test_what_was_sampled_between_two_halvings_is_halved_once() -> None:
    assert counted([0] * 18 + [1] * 4 + [0] * 9, [0, 8]) == ([9, 4], 2)  # 8 / 2 + 4 = 8, halved
