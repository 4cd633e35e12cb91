"""Builders for the tests of the engine: a small engine, accesses, a round of the consumer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pghot.engine.accesses import Accesses, Mechanism
from pghot.engine.engine import HotnessEngine, Promotions
from pghot.engine.settings import EngineSettings

PAGES = 70_000  # three sections, the last not full
LOWER = np.array([False, False, True, True])
NO_ROOM = np.zeros(4, np.int64)


@dataclass(frozen=True)
class Seer:
    """A source as the engine knows it."""

    name: str
    mechanism: Mechanism = None
    inline: bool = False
    summary: str = "for tests"
    released: bool = True


# Named and seeing as those of the lab.
FAULTS = Seer("hintfaults", "hint fault", inline=True)
PEBS = Seer("pebs", "hardware", inline=True)
CHMU = Seer("chmu", "hardware")
IBS = Seer("ibs", "hardware", inline=True)
ABIT = Seer("abit", "page-table scan")
TRUTH = Seer("truth")


def make_engine(store: str = "default", **changes) -> HotnessEngine:
    """Nodes 0 and 1 on top, 2 and 3 below."""
    values = {"pages": PAGES, "page_bytes": 4096, "nodes": 4, "top_nodes": (0, 1), "target_nid": 0}
    return HotnessEngine(EngineSettings(store, **{**values, **changes}))


def on_lower() -> np.ndarray:
    return np.full(PAGES, 2, np.uint8)


def touch(engine, pages, now_ms, node=0, count=1, place=None, source=PEBS, hint_fault=False):
    pages = np.array(pages, np.uint32)
    size = len(pages)
    accesses = Accesses(
        pages, np.full(size, node, np.int16), np.full(size, count, np.uint32), now_ms, hint_fault
    )
    engine.record(source, accesses, on_lower() if place is None else place, LOWER)


def wake(engine, now_ms, free=NO_ROOM, node_pages=NO_ROOM, max_pages=10**9) -> Promotions:
    return engine.wake(now_ms, free, node_pages, NO_ROOM, max_pages)
