"""A kswapd that is stuck inside first touch is not woken again; tests/unit/sim/machine/test_machine_worked.py has
one that is not stuck."""

from __future__ import annotations

import numpy as np
import pytest

from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import load_topology

PAGES = 1000


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pages each reclaim found to demote."""
    found: list[int] = []
    reclaim = SimulatedMachine.reclaim

    def counted(self: SimulatedMachine, node: int, *rest: int) -> int:
        found.append(reclaim(self, node, *rest))
        return found[-1]

    monkeypatch.setattr(SimulatedMachine, "reclaim", counted)
    return found


def machine() -> SimulatedMachine:
    made = SimulatedMachine(load_topology("dram-cxl"), PAGES, 4096, np.array([100, PAGES]), 1)
    made.demotion_enabled = True
    made.slice_ns = 1e9  # time for kswapd
    return made


def touch(made: SimulatedMachine, page: range) -> None:
    rows = np.arange(page.start, page.stop, dtype=np.uint32)
    ones, none = np.ones(len(rows), np.uint32), np.zeros(len(rows), np.uint32)
    made.run_slice(rows, ones, ones, none, none, np.zeros(len(rows), np.int16), 0)


def test_pages_that_are_all_young_leave_kswapd_stuck_at_its_first_wake_up(woken: list[int]) -> None:
    """All are touched in this slice, so none may be demoted: 900 pages go below in one step, not in 225 of four."""
    made = machine()
    touch(made, range(PAGES))
    during = [pages for pages in woken if pages == 0]
    assert sum(woken) == 0
    assert 1 <= len(during) <= 3  # in first touch; and once when the slice ends
    assert int((made.place == 0).sum()) == 100 - int(made.min_pages[0])
