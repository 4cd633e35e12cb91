"""A program of one node spread over all that have CPUs: nothing is lost, and both sockets' links carry it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pghot
from builders.accesses import trace_from_accesses
from pghot.errors import UsageError
from pghot.lab.spread import spread_over
from pghot.recording.bundled import open_bundled
from pghot.recording.compressibility import compressibility_of
from pghot.recording.trace import MemoryTrace, SliceBatch

COLUMNS = ("touches", "misses", "sequential", "writes")


def by_page(batch: SliceBatch) -> dict[tuple[int, str], int]:
    return {
        (int(page), name): int(getattr(batch, name)[batch.page == page].sum())
        for page in np.unique(batch.page)
        for name in COLUMNS
    }


@given(st.lists(st.integers(0, 9), min_size=1, max_size=300), st.integers(2, 4), st.integers(0, 1 << 30))
@settings(max_examples=50, deadline=None)
def test_every_column_of_every_page_is_kept(accesses: list[int], nodes: int, seed: int) -> None:
    trace = trace_from_accesses(np.array(accesses, np.uint32), accesses_per_slice=100)
    spread = spread_over(trace, nodes, seed)
    assert spread.info == replace(trace.info, nodes=nodes)
    before = [(batch, index) for batch in trace.batches() for index in range(batch.slices)]
    after = list(spread.batches())
    assert len(after) == len(before)
    for (batch, index), dealt in zip(before, after, strict=True):
        rows = slice(batch.offsets[index], batch.offsets[index + 1])
        alone = replace(
            dealt, **{name: getattr(batch, name)[rows] for name in ("page", *COLUMNS)}, node=batch.node[rows]
        )
        assert by_page(dealt) == by_page(alone)
        assert dealt.instructions.tolist() == [batch.instructions[index]]
        assert dealt.offsets.tolist() == [0, dealt.rows]
        order = list(zip(dealt.page.tolist(), dealt.node.tolist(), strict=True))
        assert order == sorted(set(order)), "a row for each page and node"
    assert [batch.node.tolist() for batch in spread.batches()] == [batch.node.tolist() for batch in after]


def test_events_go_to_the_nodes_evenly_and_a_walk_to_one() -> None:
    """600 accesses on 3 nodes: 200 each, within five standard deviations of a binomial (11.5). A walk is one event."""
    trace = trace_from_accesses(np.zeros(600, np.uint32), accesses_per_slice=600)
    (dealt,) = spread_over(trace, 3, 1).batches()
    assert dealt.node.tolist() == [0, 1, 2]
    assert abs(dealt.touches.astype(int) - 200).max() < 5 * 11.5
    (batch,) = trace.batches()
    walk = replace(batch, misses=np.array([64], np.uint32), sequential=np.array([63], np.uint32))
    walked = spread_over(MemoryTrace(trace.info, 1, (), [walk]), 3, 1)
    assert [batch.misses.tolist() for batch in walked.batches()] == [[64]]


@pytest.mark.heavy
def test_it_runs_on_both_sockets_with_the_cpus_of_both() -> None:
    trace = trace_from_accesses(np.arange(20_000, dtype=np.uint32) % 1_000, accesses_per_slice=1_000)

    def setup(spread: bool) -> pghot.lab.comparison_setup.Setup:
        found = pghot.compare(
            trace, "two-socket-cxl", ["none"], fast_share=None, seeds=1, duration_s=None, spread=spread
        )
        return found.setup

    one, both = setup(spread=False), setup(spread=True)
    assert (one.similarity.threads, one.similarity.cpu_nodes) == (64, 1)
    assert (both.similarity.threads, both.similarity.cpu_nodes) == (128, 2)
    used = {node.name: node.used_share for node in one.nodes}
    assert used["dram1"] == 0, "first touch puts all on the node that it runs on"
    assert all(node.used_share > 0 for node in both.nodes if node.name.startswith("dram"))


def test_the_samples_of_its_contents_come_along() -> None:
    trace = open_bundled("redis-zipf")
    samples = compressibility_of(trace)
    assert samples is not None
    assert compressibility_of(spread_over(trace, 2, 0)) is samples


def test_what_cannot_be_spread_is_refused() -> None:
    trace = trace_from_accesses(np.zeros(10, np.uint32), accesses_per_slice=10)
    with pytest.raises(UsageError, match="one node with CPUs: nothing to spread over"):
        pghot.compare(trace, "dram-cxl", ["none"], spread=True)
    two = MemoryTrace(replace(trace.info, nodes=2), trace.pages, (), list(trace.batches()))
    with pytest.raises(UsageError, match="ran on 2 nodes already"):
        pghot.compare(two, "two-socket-cxl", ["none"], spread=True)
