"""Whatever their sources report, no policy overfills a node, moves a page twice in a batch, or loses one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.small_bed import PAGES, SmallBed
from pghot.sim.policies import POLICIES
from pghot.sim.sources import SOURCES

MOVERS = [name for name in POLICIES.names() if POLICIES.get(name).kind == "mover"]
# Kernel ms that pass, what each page missed meanwhile, and which of these pages the source reports.
steps = st.lists(
    st.tuples(
        st.integers(1, 3_000),
        st.lists(st.integers(0, 40), min_size=PAGES, max_size=PAGES),
        st.lists(st.booleans(), min_size=PAGES, max_size=PAGES),
        st.integers(0, 5_000),
    ),
    max_size=20,
)


@pytest.mark.parametrize("name", MOVERS)
@settings(max_examples=40, deadline=None)
@given(steps, st.integers(0, 6), st.integers(0, 4), st.sampled_from(["dram-cxl", "hbm-dram-cxl"]))
def test_no_trace_overfills_a_node_moves_a_page_twice_or_loses_one(
    name: str, drawn: list[tuple[int, list[int], list[bool], int]], on_top: int, room: int, tiers: str
) -> None:
    sources = POLICIES.get(name).default_sources
    bed = SmallBed(name, on_top, room, group_pages=512.0, tiers=tiers)
    at_ms = 0.0
    for lasts_ms, misses, reported, latency_ms in drawn:
        at_ms += lasts_ms
        touched = np.flatnonzero(misses).astype(np.uint32)
        count = np.array(misses, np.uint32)[touched]
        none = np.zeros(len(touched), np.uint32)
        bed.machine.run_slice(touched, count, count, none, none, np.zeros(len(touched), np.int16), 1_000)
        bed.machine.slice_ns = lasts_ms * 1e6 / 512
        for source in sources:
            lower = SOURCES.get(source).sees == "lower" and not getattr(
                POLICIES.get(name), "every_tier", False
            )
            seen = {
                int(page): misses[page]
                for page in touched
                if reported[page] and not (lower and int(page) in bed.on_top())
            }
            if SOURCES.get(source).mechanism == "hint fault":
                bed.fault(at_ms, dict.fromkeys(seen, latency_ms))
            else:
                bed.see(at_ms, seen, source)
        bed.act(at_ms)
    assert (bed.machine.place < len(bed.machine.lower)).all(), "every page is somewhere"
