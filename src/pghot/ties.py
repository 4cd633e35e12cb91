"""Ties: who comes first among pages that are equal to a mechanism.

Scans and lists go through the pages in the order of their numbers. Where such a scan begins, and which of several
equally hot pages it takes, says nothing about a policy: a run of another seed begins elsewhere.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import I64, U32

GOLDEN_RATIO = (5**0.5 - 1) / 2  # its multiples, modulo 1, lie far apart


def first_page(seed: int, pages: int) -> int:
    """The page that scans in the order of page numbers begin at: 0 for seed 0.

    >>> [first_page(seed, 1000) for seed in range(4)]
    [0, 618, 236, 854]
    """
    return int(seed * GOLDEN_RATIO % 1 * pages)


def order_from(page: U32, first: int) -> I64:
    """The order, as indices, in which a scan that begins at page `first` and wraps around meets these ascending pages.

    >>> order_from(np.array([2, 5, 9], np.uint32), 5).tolist()
    [1, 2, 0]
    """
    begin = int(np.searchsorted(page, first))
    return np.concatenate([np.arange(begin, len(page)), np.arange(begin)])


def from_first(page: U32, first: int) -> U32:
    """These ascending pages in that order."""
    begin = int(np.searchsorted(page, first)) if first else 0
    return np.concatenate([page[begin:], page[:begin]]) if begin else page
