"""Whoever moves for it, no policy overfills a node, moves a page twice in a batch, loses one, or moves by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.small_bed import PAGES, SmallBed
from pghot.arrays import U32
from pghot.policies.machine import Moves
from pghot.policies.runs_on import moves_in_fault
from pghot.sim.machine.move_costs import HINT_FAULT
from pghot.sim.machine.movers import mover_named
from pghot.sim.moved_by import MovedBy
from pghot.sim.policies import POLICIES
from pghot.sim.sources import SOURCES

POLICIES_THAT_MOVE = [name for name in POLICIES.names() if POLICIES.get(name).kind == "mover"]
MOVERS = ("fault", "kthread", "copy-threads:4", "dma")
Step = tuple[int, list[int], int]
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
    name: str, drawn: list[Step], by: str, on_top: int, room: int, tiers: str
) -> None:
    bed = moved_by(by, name, SmallBed(name, on_top, room, group_pages=512.0, tiers=tiers))
    for step in drawn:
        play(bed, name, step)
        copy = [key for key, thread in bed.machine.kernel_threads.items() if thread.copying.any()]
        assert all(key.startswith("kswapd" if by == "fault" else ("kswapd", "mover")) for key in copy), copy
    assert (bed.machine.place < len(bed.machine.lower)).all(), "every page is somewhere"
    assert bed.machine.ledger.promoted == 0 or bed.machine.ledger.moving_app_ns > 0, "at least the interrupts"


@pytest.mark.parametrize("name", POLICIES_THAT_MOVE)
@settings(max_examples=10, deadline=None)
@given(steps, st.integers(0, 6), st.integers(0, 4))
def test_a_policy_says_whether_it_moves_in_the_fault_and_then_that_mover_is_its_own(
    name: str, drawn: list[Step], on_top: int, room: int
) -> None:
    own, other = (SmallBed(name, on_top, room, group_pages=512.0) for _ in range(2))
    moved_by("fault", name, other)
    payers = set()
    migrate = own.machine.migrate

    def spy(page: U32, target: int, payer: str, batch_pages: int = 512) -> Moves:
        payers.add(payer)
        return migrate(page, target, payer, batch_pages)

    own.machine.migrate = spy  # type: ignore[method-assign]
    for step in drawn:
        play(own, name, step)
        play(other, name, step)
    if moves_in_fault(POLICIES.get(name)):
        assert payers <= {HINT_FAULT}
        assert own.machine.place.tolist() == other.machine.place.tolist()
        accounts = [
            (ledger.moving_app_ns, ledger.promoted, ledger.demoted, ledger.elapsed_ns)
            for ledger in (own.machine.ledger, other.machine.ledger)
        ]
        assert accounts[0] == accounts[1]
    else:
        assert HINT_FAULT not in payers


def moved_by(mover: str, name: str, bed: SmallBed) -> SmallBed:
    """The bed, its policy begun anew under this mover."""
    found = mover_named(mover)
    assert found is not None
    heard = [SOURCES.get(source) for source in POLICIES.get(name).default_sources]
    bed.policy = MovedBy(POLICIES.make(name), found, heard)
    bed.policy.start(bed.world)
    return bed


def play(bed: SmallBed, name: str, step: Step) -> None:
    lasts_ms, counts, latency_ms = step
    at_ms = bed.world.now_ms + lasts_ms
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
