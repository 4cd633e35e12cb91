"""Slow, plain versions of the kernels of `pghot.lab.bounds`."""

from __future__ import annotations

from collections import OrderedDict

from pghot.arrays import U32


def lru_misses_reference(pages: U32, capacity: int) -> int:
    """`lru_misses` with an ordered dictionary."""
    cache: OrderedDict[int, None] = OrderedDict()
    misses = 0
    for page in pages.tolist():
        if page in cache:
            cache.move_to_end(page)
            continue
        misses += 1
        if len(cache) == capacity:
            cache.popitem(last=False)
        cache[page] = None
    return misses


def clock_misses_reference(pages: U32, capacity: int) -> int:
    """`clock_misses` as a queue in which referenced pages go round again."""
    queue: OrderedDict[int, bool] = OrderedDict()
    misses = 0
    for page in pages.tolist():
        if page in queue:
            queue[page] = True
            continue
        misses += 1
        while len(queue) == capacity:
            oldest, referenced = queue.popitem(last=False)
            if referenced:
                queue[oldest] = False
        queue[page] = False
    return misses
