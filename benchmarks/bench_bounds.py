"""Do the LRU and CLOCK bounds equal libCacheSim's to the last miss? And how fast is each?

python benchmarks/bench_bounds.py
"""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np

from peers import libcachesim_clock, libcachesim_lru, zipf_pages
from pghot.lab.bounds import clock_misses, lru_misses

PAGES = 1 << 16
REQUESTS = 2_000_000
SHARES = (0.001, 0.01, 0.1, 0.3, 0.9)
ALPHAS = (0.6, 1.0, 1.2)


def differences() -> tuple[int, int]:
    """Sums over all streams and sizes of |our misses - libCacheSim's|: (LRU, CLOCK)."""
    lru = clock = 0
    for seed, alpha in enumerate(ALPHAS):
        pages = zipf_pages(REQUESTS, PAGES, alpha, seed)
        for share in SHARES:
            capacity = int(share * PAGES)
            lru += abs(lru_misses(pages, capacity, PAGES) - libcachesim_lru(pages, capacity)[0])
            clock += abs(clock_misses(pages, capacity, PAGES) - libcachesim_clock(pages, capacity)[0])
    return lru, clock


def speed(requests: int = 20_000_000, pages: int = 1 << 20) -> tuple[float, float]:
    """Requests per CPU second on zipf(1.2) with a cache of a fifth of the pages: (ours, libCacheSim's), the
    better of three."""
    stream = zipf_pages(requests, pages)
    capacity = pages // 5
    lru_misses(stream[:1000], capacity, pages)
    ours = theirs = np.inf
    for _ in range(3):
        start = time.process_time()
        lru_misses(stream, capacity, pages)
        ours = min(ours, time.process_time() - start)
        theirs = min(theirs, libcachesim_lru(stream, capacity)[1])
    return requests / ours, requests / theirs


def run() -> dict[str, dict[str, Any]]:
    lru, clock = differences()
    ours, theirs = speed()
    streams = f"misses, {len(ALPHAS) * len(SHARES)} runs of {REQUESTS} requests"
    return {
        "lru_bound_equals_libcachesim": {"value": lru, "bar": 0, "ok": lru == 0, "unit": streams},
        "clock_bound_equals_libcachesim": {"value": clock, "bar": 0, "ok": clock == 0, "unit": streams},
        "lru_bound_speed": {
            "value": ours / theirs,
            "bar": 1.0,
            "ok": ours >= theirs,
            "unit": f"of libCacheSim's LRU ({ours:.3g} against {theirs:.3g} requests per CPU second)",
        },
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
