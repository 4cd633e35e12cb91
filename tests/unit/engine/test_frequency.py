"""What the engine says it has counted of a page: in its record, and while a round has taken that."""

from __future__ import annotations

import numpy as np
import pytest

from pghot.engine import STORES
from pghot.engine.accesses import Accesses
from pghot.engine.engine import HotnessEngine
from pghot.engine.settings import EngineSettings
from pghot.sim.sources import SOURCES

PAGES = np.arange(4, dtype=np.uint32)


@pytest.mark.parametrize("store", STORES.names())
def test_the_frequency_is_that_of_the_record_even_after_a_round_took_it(store: str) -> None:
    """Pages 1 and 3 are seen once and twice; 2 is enough to be hot. Page 0 is on the top tier, page 2 was not seen."""
    settings = EngineSettings(store=store, pages=4, page_bytes=4096, nodes=2, top_nodes=(0,), target_nid=0)
    engine = HotnessEngine(settings)
    seen = Accesses(
        np.array([0, 1, 3, 3], np.uint32), np.zeros(4, np.int16), np.ones(4, np.uint32), time_ms=1_000
    )
    place, lower = np.array([0, 1, 1, 1], np.uint8), np.array([False, True])
    engine.record(SOURCES.get("pebs"), seen, place, lower)
    assert engine.frequency(PAGES).tolist() == [0, 1, 0, 2]
    room = np.array([1 << 20, 1 << 20])
    taken = engine.wake(1_050.0, room, room, np.zeros(2, np.int64), 10)
    assert taken.page.tolist() == [3]
    assert engine.store.records_of(PAGES)[3] == 0
    assert engine.frequency(PAGES).tolist() == [0, 1, 0, 2]
