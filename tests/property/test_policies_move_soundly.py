"""Whatever their sources report, no policy overfills a node, moves a page twice in a batch, or loses one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.small_bed import STEPS, SmallBed, Step, played
from pghot.sim.policies import POLICIES

MOVERS = [name for name in POLICIES.names() if POLICIES.get(name).kind == "mover"]


@pytest.mark.parametrize("name", MOVERS)
@settings(max_examples=40, deadline=None)
@given(STEPS, st.integers(0, 6), st.integers(0, 4), st.sampled_from(["dram-cxl", "hbm-dram-cxl"]))
def test_no_trace_overfills_a_node_moves_a_page_twice_or_loses_one(
    name: str, drawn: list[Step], on_top: int, room: int, tiers: str
) -> None:
    bed = SmallBed(name, on_top, room, group_pages=512.0, tiers=tiers)
    for _ in played(bed, drawn):
        pass
    assert (bed.machine.place < len(bed.machine.lower)).all(), "every page is somewhere"
