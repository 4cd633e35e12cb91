"""LRU stack distances: one pass over the requests gives the misses of page caches of every size (Mattson 1970).

A request hits an LRU cache of C pages if fewer than C other pages were asked for since its page was asked for last.
This number is its stack distance. A Fenwick tree over the moments of each page's last request counts them.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import I64, U32
from pghot.jit import njit

COLD = -1  # the distance of a page's first request: no cache of any size has it


@njit(cache=True)
def stack_distances(page: U32, last: I64, tree: I64, now: int, out: I64) -> int:
    """Write the stack distance of each request to `out`; returns the next moment.

    page   uint32[requests], each below the length of `last`
    last   int64[pages], carried over: the moment of each page's last request, from 1; 0: none yet
    tree   int64[moments + 1], carried over: a Fenwick tree with a one at each page's last moment; it needs more moments
           than there are pages, and is renumbered when they are used up
    now    the next moment, carried over, at first 1
    out    int64[requests], `COLD` for first requests
    """
    moments = len(tree) - 1
    for row in range(len(page)):
        if now > moments:
            now = _renumber(last, tree)
        index = page[row]
        before = last[index]
        if before == 0:
            out[row] = COLD
        else:
            out[row] = _sum(tree, now - 1) - _sum(tree, before)
            _add(tree, before, -1)
        _add(tree, now, 1)
        last[index] = now
        now += 1
    return now


@njit(cache=True)
def _sum(tree: I64, moment: int) -> int:
    """Ones up to and including a moment."""
    total = 0
    while moment > 0:
        total += tree[moment]
        moment -= moment & -moment
    return total


@njit(cache=True)
def _add(tree: I64, moment: int, value: int) -> None:
    while moment < len(tree):
        tree[moment] += value
        moment += moment & -moment


@njit(cache=True)
def _renumber(last: I64, tree: I64) -> int:
    """Give the pages the moments 1, 2, ... in the order of their last requests; returns the next one."""
    order = np.argsort(last)
    tree[:] = 0
    now = 1
    for index in order:
        if last[index]:
            last[index] = now
            _add(tree, now, 1)
            now += 1
    return now


class StackDistances:
    """Stack distances of requests for pages 0..pages-1 that come in parts."""

    def __init__(self, pages: int) -> None:
        self._last = np.zeros(pages, np.int64)
        self._tree = np.zeros(2 * pages + 2, np.int64)
        self._now = 1

    def of(self, page: U32) -> I64:
        """int64[requests]: the distance of each, `COLD` for a page's first request.

        >>> StackDistances(3).of(np.array([0, 1, 2, 0, 0], np.uint32)).tolist()
        [-1, -1, -1, 2, 0]
        """
        out = np.empty(len(page), np.int64)
        self._now = stack_distances(page, self._last, self._tree, self._now, out)
        return out
