"""Seeds change the order among pages that are equal: where each scan begins. Figures worked by hand."""

from __future__ import annotations

import numpy as np

from pghot.engine.accesses import Accesses
from pghot.engine.default import DefaultStore
from pghot.engine.settings import EngineSettings
from pghot.sim.machine.lru import Generations
from pghot.sim.sources.abit import AbitScan
from pghot.sim.sources.chmu import Chmu
from pghot.sim.sources.hintfaults import HintFaults
from pghot.sim.sources.simulated_source import SimulatedSource, SliceView, SourceSettings

PAGES = 10  # the scans of seed 1 begin at page 6: 0.618 x 10


def settings(seed: int) -> SourceSettings:
    return SourceSettings(PAGES, 4096, nodes=2, seed=seed)


def seen(source: SimulatedSource, slices: int, dt_ms: float) -> list[int]:
    """The pages of the first report, where every page is on node 1 and is touched 20 times in every slice."""
    counts = np.full(PAGES, 20, np.uint32)
    for number in range(1, slices + 1):
        view = SliceView(
            page=np.arange(PAGES, dtype=np.uint32), touches=counts, misses=counts, sequential=counts * 0,
            writes=counts * 0, node=np.zeros(PAGES, np.int16), place=np.ones(PAGES, np.uint8),
            lower=np.array([False, True]), now_ms=number * dt_ms, dt_ns=dt_ms * 1e6, threads=1, instructions=0,
        )  # fmt: skip
        if len(found := source.observe(view).accesses):
            return found.page.tolist()
    return []


def test_a_bits_are_read_from_the_first_page_on() -> None:
    assert seen(AbitScan(settings(0)), 3, 1000.0) == list(range(10))
    assert seen(AbitScan(settings(1)), 3, 1000.0) == [6, 7, 8, 9, 0, 1, 2, 3, 4, 5]


def test_a_hint_fault_scan_begins_elsewhere() -> None:
    """Steps of 3 pages: the first marks 6, 7, 8 under seed 1."""
    for seed, pages in ((0, [0, 1, 2]), (1, [6, 7, 8])):
        assert seen(HintFaults(settings(seed), scan_bytes=3 * 4096), 2, 1000.0) == pages


def test_a_hot_list_that_is_full_has_other_pages() -> None:
    assert seen(Chmu(settings(0), ring_entries=4), 1, 1000.0) == [0, 1, 2, 3]
    assert seen(Chmu(settings(1), ring_entries=4), 1, 1000.0) == [6, 7, 8, 9]


def test_of_equally_old_pages_others_are_demoted() -> None:
    for first, old in ((0, [0, 1, 2]), (6, [6, 7, 8])):
        generations = Generations(PAGES, 1e6, first)
        for number in range(3):
            generations.age(number * 1e6)
        assert generations.oldest(np.zeros(PAGES, np.uint8), 0, 3, 2e6)[0].tolist() == old
        assert generations.coldest(np.zeros(PAGES, np.uint8), 0, 3).tolist() == old


def test_of_equally_hot_pages_others_are_promoted_first() -> None:
    page = np.array([1, 4, 7, 9], np.uint32)
    heard = Accesses(page, np.zeros(4, np.int16), np.ones(4, np.uint32), 1000)
    for first, order in ((0, [1, 4, 7, 9]), (6, [7, 9, 1, 4])):
        store = DefaultStore(
            EngineSettings("default", PAGES, 4096, 2, (0,), 0, freq_threshold=1, first_page=first)
        )
        store.record(heard, np.ones(PAGES, np.uint8), np.array([False, True] + [False] * 254))
        assert store.take(1100, 1).page.tolist() == order
