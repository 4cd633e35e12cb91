"""Whoever moves for it, no policy overfills a node, moves a page twice in a batch, loses one, or moves by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.small_bed import PAGES, SmallBed
from pghot.sim.machine.movers import mover_named
from pghot.sim.moved_by import MovedBy
from pghot.sim.policies import POLICIES
from pghot.sim.sources import SOURCES

POLICIES_THAT_MOVE = [name for name in POLICIES.names() if POLICIES.get(name).kind == "mover"]
MOVERS = ("fault", "kthread", "copy-threads:4", "dma")
# Kernel ms that pass, how often each page is seen meanwhile, and the latency of its hint fault.
steps = st.lists(
    st.tuples(
        st.integers(1, 3_000),
        st.lists(st.integers(0, 40), min_size=PAGES, max_size=PAGES),
        st.integers(0, 5_000),
    ),
    max_size=12,
)


@pytest.mark.parametrize("name", POLICIES_THAT_MOVE)
@settings(max_examples=20, deadline=None)
@given(
    steps,
    st.sampled_from(MOVERS),
    st.integers(0, 6),
    st.integers(0, 4),
    st.sampled_from(["dram-cxl", "hbm-dram-cxl"]),
)
def test_no_mover_overfills_a_node_moves_a_page_twice_or_loses_one(
    name: str, drawn: list[tuple[int, list[int], int]], by: str, on_top: int, room: int, tiers: str
) -> None:
    bed, mover = SmallBed(name, on_top, room, group_pages=512.0, tiers=tiers), mover_named(by)
    assert mover is not None
    bed.policy = MovedBy(
        POLICIES.make(name), mover, [SOURCES.get(each) for each in POLICIES.get(name).default_sources]
    )
    bed.policy.start(bed.world)
    at_ms = 0.0
    for lasts_ms, counts, latency_ms in drawn:
        at_ms += lasts_ms
        touched = np.flatnonzero(counts).astype(np.uint32)
        count = np.array(counts, np.uint32)[touched]
        none = np.zeros(len(touched), np.uint32)
        bed.machine.run_slice(touched, count, count, none, none, np.zeros(len(touched), np.int16), 1_000)
        # Often so short that a thread cannot move all that is asked for.
        bed.machine.slice_ns = lasts_ms * 1e6 / 512 if lasts_ms % 2 else float(lasts_ms)
        for source in POLICIES.get(name).default_sources:
            below = SOURCES.get(source).sees == "lower"
            seen = {int(page): counts[page] for page in touched if not (below and int(page) in bed.on_top())}
            if SOURCES.get(source).mechanism == "hint fault":
                bed.fault(at_ms, dict.fromkeys(seen, latency_ms))
            else:
                bed.see(at_ms, seen, source)
        bed.act(at_ms)
        copy = [key for key, thread in bed.machine.kernel_threads.items() if thread.copying.any()]
        assert all(key.startswith("kswapd" if by == "fault" else ("kswapd", "mover")) for key in copy), copy
    assert (bed.machine.place < len(bed.machine.lower)).all(), "every page is somewhere"
    assert bed.machine.ledger.promoted == 0 or bed.machine.ledger.moving_app_ns > 0, "at least the interrupts"
