"""The machine's kernels against their references, and its solver against physics."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from pghot.arrays import NOWHERE
from pghot.sim.machine.lru import age_pages, take_old
from pghot.sim.machine.relocation import movable, relocate, slowest_node
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import Topology
from pghot.sim.machine.touch import allocate, note_writes, serve, touch
from references.sim.machine.lru import age_pages_reference, take_old_reference
from references.sim.machine.relocation import (
    movable_reference,
    relocate_reference,
    slowest_node_reference,
)
from references.sim.machine.touch import (
    allocate_reference,
    note_writes_reference,
    serve_reference,
    touch_reference,
)

PAGES, NODES = 12, 3
seeds = st.integers(0, 2**32 - 1)


def rows(rng: np.random.Generator) -> dict[str, npt.NDArray[np.generic]]:
    """Valid rows of one slice: pages ascend, several nodes may touch one page."""
    length = int(rng.integers(0, 20))
    touches = rng.integers(1, 50, length).astype(np.uint32)
    misses = rng.integers(0, touches + 1).astype(np.uint32)
    return {
        "page": np.sort(rng.integers(0, PAGES, length)).astype(np.uint32),
        "touches": touches,
        "misses": misses,
        "sequential": rng.integers(0, misses + 1).astype(np.uint32),
        "writes": rng.integers(0, touches + 1).astype(np.uint32),
        "node": rng.integers(0, NODES, length).astype(np.int16),
    }


@given(seeds)
def test_pages_are_allocated_as_by_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    part = rows(rng)
    place = rng.choice([0, 1, 2, NOWHERE], PAGES).astype(np.uint8)
    preferred = rng.integers(-1, NODES, PAGES).astype(np.int16)
    free, floor = rng.integers(0, 6, NODES), rng.integers(0, 3, NODES)
    fallback = np.array([rng.permutation(NODES) for _ in range(NODES)])
    ours = (place.copy(), preferred.copy(), free.copy())
    plain = (place.copy(), preferred.copy(), free.copy())
    failed = allocate(part["page"], part["node"], *ours, floor, fallback)
    assert failed == allocate_reference(part["page"], part["node"], *plain, floor, fallback)
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (ours[2] >= np.minimum(free, floor)).all(), "the reserve stays"


@given(seeds)
def test_misses_are_served_as_by_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    part = rows(rng)
    place = rng.choice([0, 1, 2, NOWHERE], PAGES, p=[0.3, 0.3, 0.35, 0.05]).astype(np.uint8)
    young, plain_young = np.zeros(PAGES, np.uint8), np.zeros(PAGES, np.uint8)
    overlap = rng.choice([1.0, 0.5, 0.125], PAGES).astype(np.float32)
    served, plain = rng.random((NODES, NODES, 4)), np.zeros((NODES, NODES, 4))
    unplaced = serve(*part.values(), place, young, overlap, served)
    assert unplaced == serve_reference(*part.values(), place, plain_young, overlap, plain)
    np.testing.assert_allclose(served, plain)
    np.testing.assert_array_equal(young, plain_young)
    if not unplaced:
        assert served[:, :, :2].sum() == part["misses"].sum(), "every miss is served once"


@given(seeds)
def test_ageing_equals_its_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    young = rng.integers(0, 2, PAGES).astype(np.uint8)
    generation = rng.integers(0, 5, PAGES).astype(np.uint32)
    plain_young, plain = young.copy(), generation.copy()
    age_pages(young, generation, 7)
    age_pages_reference(plain_young, plain, 7)
    np.testing.assert_array_equal(generation, plain)
    np.testing.assert_array_equal(young, plain_young)


@given(seeds)
def test_pages_and_frames_are_conserved(seed: int) -> None:
    """However slices, moves and reclaim follow each other, every placed page has one frame on one node."""
    rng = np.random.default_rng(seed)
    topology = Topology.model_validate(
        {
            "nodes": [
                {"name": "a", "cpus": 1, "capacity": "1 MiB", "latency_ns": 100, "bandwidth_gb_s": 100},
                {"name": "b", "capacity": "1 MiB", "latency_ns": 250, "bandwidth_gb_s": 30},
                {"name": "c", "capacity": "1 MiB", "latency_ns": 600, "bandwidth_gb_s": 20},
            ]
        }
    )
    capacity = np.array([5, 6, 20])
    machine = SimulatedMachine(topology, PAGES, 4096, capacity, 1)
    machine.demotion_enabled = bool(rng.integers(0, 2))
    for _ in range(12):
        kind = rng.integers(0, 4)
        if kind == 0:
            part = rows(rng)
            part["node"][:] = 0
            machine.run_slice(*part.values(), 1000)
        elif kind == 1:
            chosen = rng.permutation(PAGES)[: rng.integers(0, PAGES)].astype(np.uint32)
            moves = machine.migrate(chosen, int(rng.integers(0, NODES)), "kmigrated")
            assert not set(moves.moved.tolist()) & set(moves.failed.tolist())
        elif kind == 2:
            machine.reclaim(int(rng.integers(0, NODES)), int(rng.integers(0, 4)))
        else:
            machine.age_generations("kswapd0")
        held = np.array([np.count_nonzero(machine.place == node) for node in range(NODES)])
        np.testing.assert_array_equal(machine.free_pages, capacity - held)
        assert (machine.free_pages >= 0).all()
        ledger = machine.ledger
        assert ledger.exchanged_bytes >= 4096 * (ledger.promoted + ledger.demoted)
        assert ledger.pingpong <= ledger.promoted


@given(seeds)
def test_touched_pages_are_young_or_first_touched(seed: int) -> None:
    rng = np.random.default_rng(seed)
    page = rows(rng)["page"]
    place = rng.choice([0, 1, NOWHERE], PAGES).astype(np.uint8)
    results = []
    for touched in (touch, touch_reference):
        young, first = np.zeros(PAGES, np.uint8), np.zeros(PAGES, np.bool_)
        results.append((touched(page, place, young, first), young.tolist(), first.tolist()))
    assert results[0] == results[1]


@given(seeds)
def test_written_pages_on_the_node_each_once_and_their_new_sizes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    part = rows(rng)
    part["writes"][rng.random(len(part["writes"])) < 0.5] = 0
    place = rng.choice([0, 1, NOWHERE], PAGES).astype(np.uint8)
    first, rewritten = rng.random(PAGES) < 0.3, rng.integers(0, 4096, PAGES)
    results = []
    for note in (note_writes, note_writes_reference):
        size, out = np.full(PAGES, -1), np.zeros(len(part["page"]), np.uint32)
        found = note(part["page"], part["writes"], first, rewritten, size, place, 1, out)
        results.append((out[:found].tolist(), size.tolist()))
    assert results[0] == results[1]


@given(seeds)
def test_pages_that_are_elsewhere_can_move(seed: int) -> None:
    rng = np.random.default_rng(seed)
    page = rng.permutation(PAGES)[: rng.integers(0, PAGES + 1)].astype(np.uint32)
    place = rng.choice([0, 1, 2, NOWHERE], PAGES).astype(np.uint8)
    ours, plain = np.zeros(len(page), np.uint32), np.zeros(len(page), np.uint32)
    found = movable(page, place, 1, ours)
    assert found == movable_reference(page, place, 1, plain)
    assert ours[:found].tolist() == plain[:found].tolist()


@given(seeds)
def test_pages_change_their_node_as_by_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    page = rng.permutation(PAGES)[: rng.integers(0, PAGES + 1)].astype(np.uint32)
    target, rank = int(rng.integers(0, NODES)), rng.integers(0, 3, NODES)
    place, free, moving = (
        rng.integers(0, NODES, PAGES).astype(np.uint8),
        rng.integers(0, 9, NODES),
        np.ones(NODES),
    )
    promoted_before = rng.random(PAGES) < 0.5
    results = []
    for move in (relocate, relocate_reference):
        state = (place.copy(), rank, free.copy(), moving.copy(), promoted_before.copy())
        promoted = np.zeros(len(page), np.uint32)
        counts = move(page, target, 4096.0, *state, promoted)
        results.append([counts, promoted[: counts[0]].tolist(), *(each.tolist() for each in state)])
    assert results[0] == results[1]


@given(seeds)
def test_the_slowest_node_of_a_move_is_that_of_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    page, target = rng.permutation(PAGES)[: rng.integers(0, 5)].astype(np.uint32), int(rng.integers(0, NODES))
    place, slowdown = rng.integers(0, NODES, PAGES).astype(np.uint8), rng.choice([1.0, 1.5, 2.0], NODES)
    assert slowest_node(page, place, target, slowdown) == slowest_node_reference(
        page, place, target, slowdown
    )


@given(seeds)
def test_old_pages_are_taken_as_by_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    queue = rng.permutation(PAGES)[: rng.integers(0, PAGES + 1)].astype(np.uint32)
    place, young = rng.integers(0, 2, PAGES).astype(np.uint8), (rng.random(PAGES) < 0.3).astype(np.uint8)
    taken, wanted = rng.random(PAGES) < 0.2, int(rng.integers(0, 6))
    results = []
    for take in (take_old, take_old_reference):
        out = np.zeros(wanted, np.uint32)
        found, used = take(queue, place, 1, young, taken, out)
        results.append((found, used, out[:found].tolist()))
    assert results[0] == results[1]
