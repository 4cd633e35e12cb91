"""How fast the hotness stores take accesses in, against a bare loop that only counts.

`HotnessEngine.record` (the product's path, with its filter for pages that are already on a fast node) and
`counts[page] += 1` see the same zipf(1.2) stream over 2**20 pages. CPU seconds of alternating runs, the ratio
of their medians.

The bar is on recording alone, all pages below the top tier and no consumer, so after the first passes most
records are saturated. `in_use` is the same ratio where that comfort is gone: half of the pages are on the top
tier, mixed among the others, and the consumer wakes after each batch and takes what is hot, so records start
over all the time. Its time counts too. There is no bar on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from numba import njit

from pghot.arrays import U32
from pghot.engine.accesses import Accesses
from pghot.engine.engine import HotnessEngine
from pghot.engine.settings import EngineSettings
from pghot.sim.sources.pebs import Pebs

PAGES = 1 << 20
BATCH = 1 << 18
BATCHES = 32
STEP_MS = 100
RUNS = 7
BARS = {"default": 0.5, "precise": 0.2, "hashed": 0.08}


@njit(cache=True)
def count_bare(page: U32, counts: U32) -> None:
    """The yardstick: what any tracker must do at least."""
    for i in range(page.shape[0]):
        counts[page[i]] += 1


def zipf_stream(alpha: float, pages: int, batches: int, batch: int, seed: int) -> list[U32]:
    """Batches of uint32 pages; popularity falls as rank**-alpha, ranks are scattered over the pages."""
    rng = np.random.default_rng(seed)
    share = np.cumsum(np.arange(1, pages + 1) ** -alpha)
    scattered = rng.permutation(pages).astype(np.uint32)
    return [scattered[np.searchsorted(share, rng.random(batch) * share[-1])] for _ in range(batches)]


def store_pass(store: str, stream: list[U32], in_use: bool) -> Callable[[], None]:
    """A function that records the whole stream once; kernel time goes on from call to call.

    in_use  half of the pages are on the top tier, and the consumer runs after each batch
    """
    engine = HotnessEngine(EngineSettings(store, PAGES, 4096, nodes=2, top_nodes=(0,), target_nid=0))
    place = np.full(PAGES, 1, np.uint8)
    if in_use:
        place[np.random.default_rng(2).random(PAGES) < 0.5] = 0
    lower = np.array([False, True])
    node, count = np.zeros(BATCH, np.int16), np.ones(BATCH, np.uint32)
    no_room = np.zeros(2, np.int64)
    now_ms = 0

    def run_once() -> None:
        nonlocal now_ms
        for page in stream:
            now_ms += STEP_MS
            engine.record(Pebs, Accesses(page, node, count, now_ms), place, lower)
            if in_use:
                engine.wake(now_ms, no_room, no_room, no_room, PAGES)

    return run_once


def bare_pass(stream: list[U32]) -> Callable[[], None]:
    """A function that counts the whole stream once."""
    counts = np.zeros(PAGES, np.uint32)

    def run_once() -> None:
        for page in stream:
            count_bare(page, counts)

    return run_once


def cpu_seconds(work: Callable[[], None]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def run() -> dict[str, dict[str, Any]]:
    """`{name: {value, bar, ok, unit, spread}}`: each store's rate over the bare loop's.

    spread is (max - min) / median of the ratios of neighbouring runs.
    """
    stream = zipf_stream(1.2, PAGES, BATCHES, BATCH, seed=1)
    passes = {"bare": bare_pass(stream)}
    for store in BARS:
        passes[store] = store_pass(store, stream, in_use=False)
        passes[f"{store} in use"] = store_pass(store, stream, in_use=True)
    for work in passes.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(RUNS):
        for name, work in passes.items():
            seconds[name].append(cpu_seconds(work))
    results = {}
    for store, bar in BARS.items():
        ratios = [bare / own for bare, own in zip(seconds["bare"], seconds[store], strict=True)]
        value = median(seconds["bare"]) / median(seconds[store])
        results[f"store_update_{store}"] = {
            "value": round(value, 3),
            "bar": bar,
            "ok": value >= bar,
            "unit": "rate relative to counts[page] += 1",
            "spread": round((max(ratios) - min(ratios)) / median(ratios), 3),
            "in_use": round(median(seconds["bare"]) / median(seconds[f"{store} in use"]), 3),
            "million_per_s": round(BATCH * BATCHES / median(seconds[store]) / 1e6, 1),
        }
    return results


if __name__ == "__main__":
    for name, result in run().items():
        print(name, *(f"{key}={value}" for key, value in result.items()))
