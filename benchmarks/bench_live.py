"""How fast sightings become hotness records on the live side, beside a bare pass over the same arrays.

Addresses of one program over 1 GiB, in the random order in which hint faults and samples come, through the section
lookup and into the default store, as `pghot.live.loop` does it in every round. The bare pass reads addresses and
pids once and adds them up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from pghot.arrays import I32, U64
from pghot.engine.accesses import Accesses
from pghot.engine.engine import HotnessEngine
from pghot.engine.settings import EngineSettings
from pghot.live.machine.sections import SECTION_PAGES, SectionTable
from pghot.live.sources.faults import Faults

PID = 4242
SECTIONS = 8
START = 0x7F00_0000_0000
BATCH = 1 << 20
RUNS = 9
BAR_MILLION_PER_S = 20.0


@njit(cache=True)
def read_bare(pid: I32, address: U64) -> np.uint64:
    """The yardstick: both arrays, once."""
    total = np.uint64(0)
    for i in range(address.shape[0]):
        total += address[i] + np.uint64(pid[i])
    return total


class Pipeline:
    """Lookup and update of one batch."""

    def __init__(self) -> None:
        self.table = SectionTable(2 * SECTIONS, 1 << 16)
        self.table.assign(PID, 1)
        for i in range(SECTIONS):
            self.table.add(1, (START >> 27) + i)
        pages = self.table.pages
        self.engine = HotnessEngine(EngineSettings("default", pages, 4096, 2, (0,), 0))
        self.place = np.ones(pages, np.uint8)
        self.lower = np.array([False, True])
        self.now_ms = 0

    def run(self, pid: I32, address: U64, node: npt.NDArray[np.int16], count: npt.NDArray[np.uint32]) -> None:
        self.now_ms += 1
        page = self.table.lookup(pid, address)
        self.engine.record(Faults, Accesses(page, node, count, self.now_ms, True), self.place, self.lower)


def cpu_seconds(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def run() -> dict[str, Any]:
    random = np.random.default_rng(23)
    offset = random.integers(0, SECTIONS * SECTION_PAGES, BATCH).astype(np.uint64)
    address = np.uint64(START) + offset * np.uint64(4096)
    pid, node = np.full(BATCH, PID, np.int32), np.zeros(BATCH, np.int16)
    count = np.ones(BATCH, np.uint32)
    pipeline = Pipeline()
    pipeline.run(pid, address, node, count)
    read_bare(pid, address)
    ours, bare = [], []
    for _ in range(RUNS):
        ours.append(cpu_seconds(lambda: pipeline.run(pid, address, node, count)))
        bare.append(cpu_seconds(lambda: read_bare(pid, address)))
    rate = BATCH / median(ours) / 1e6
    return {
        "live_lookup_and_update": {
            "value": rate,
            "bar": BAR_MILLION_PER_S,
            "ok": rate >= BAR_MILLION_PER_S,
            "unit": "million accesses/s",
            "share_of_a_bare_pass": median(bare) / median(ours),
        }
    }
