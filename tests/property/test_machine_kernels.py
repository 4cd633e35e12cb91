"""The machine's kernels against their references, and its solver against physics."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pghot.arrays import F64, NOWHERE
from pghot.sim.machine.loaded_latency import demand_of_misses, loaded_latency_ns, solve_slice_ns
from pghot.sim.machine.lru import age_pages, take_old
from pghot.sim.machine.relocation import movable, relocate
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import Topology
from pghot.sim.machine.touch import allocate, note_writes, serve, touch
from references.sim.machine.lru import age_pages_reference, take_old_reference
from references.sim.machine.relocation import movable_reference, relocate_reference
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
    served, plain = rng.random((NODES, NODES, 3)), np.zeros((NODES, NODES, 3))
    unplaced = serve(*part.values(), place, young, served)
    assert unplaced == serve_reference(*part.values(), place, plain_young, plain)
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


def solve(busy_ns: float, inflight: F64, idle_ns: F64, lines: F64, bandwidth: F64) -> float:
    zero = np.zeros(len(inflight))
    return float(
        solve_slice_ns(
            busy_ns,
            inflight,
            idle_ns,
            zero,
            64.0 * lines,
            bandwidth,
            zero,
            0.381,
            0.36,
            np.zeros(len(inflight)),
        )
    )


shares = st.floats(0, 1e6)


@given(st.floats(0, 1e6), st.tuples(shares, shares), st.floats(1, 30), st.integers(1, 64))
def test_the_solved_time_satisfies_the_closed_loop(
    busy_ns: float, misses: tuple[float, float], mlp: float, threads: int
) -> None:
    """T = busy + sum of misses * loaded latency(T) / (mlp * threads), by plain evaluation at the answer."""
    lines, idle, bandwidth = np.array(misses), np.array([100.0, 271.0]), np.array([200.0, 26.0])
    inflight = lines / mlp / threads
    duration = solve(busy_ns, inflight, idle, lines, bandwidth)
    if duration < 1e-3:
        return
    waiting = sum(
        n * loaded_latency_ns(idle_ns, 64.0 * count / duration / width, 0.381, 0.36)
        for n, idle_ns, count, width in zip(inflight, idle, lines, bandwidth, strict=True)
    )
    floor = max(busy_ns, *(64.0 * lines / bandwidth))
    assert duration >= floor * (1 - 1e-9), "not faster than the wires and the program"
    if duration > 1.001 * floor:  # where the curve is not vertical
        assert duration == pytest.approx(busy_ns + waiting, rel=1e-3)


@given(st.floats(1, 1e6), st.floats(0, 1e6), st.floats(0, 0.99))
def test_misses_on_the_slower_node_are_never_faster(total: float, busy_ns: float, share: float) -> None:
    idle, bandwidth = np.array([100.0, 271.0]), np.array([200.0, 26.0])
    times = []
    for slow in (share, min(1.0, share + 0.01)):
        lines = np.array([total * (1 - slow), total * slow])
        # Below the knee of both nodes: at it, less load on the fast one can pay for more on the slow one.
        times.append(solve(busy_ns + 10 * total, lines / 8, idle, lines, bandwidth))
    assert times[1] >= times[0] * (1 - 1e-7)


def test_limits_of_latency_and_bandwidth() -> None:
    lines, idle, width = np.array([1e6]), np.array([100.0]), np.array([1e9])
    assert solve(0.0, lines / 4, idle, lines, width) == pytest.approx(1e6 * 100 / 4, rel=1e-2)
    wire = solve(0.0, lines / 1000, idle, lines, np.array([10.0]))
    assert 6.4e6 <= wire < 1.05 * 6.4e6, "64 MB at 10 GB/s"


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
def test_demand_equals_the_sums_written_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    served = rng.integers(0, 100, (NODES, NODES, 3)).astype(float)
    remote, read = rng.random((NODES, NODES)) * 100, 100 + rng.random(NODES) * 300
    write, moving = read * 1.5, rng.random(NODES) * 1e4
    inflight, idle, waiting, moved = (np.zeros(NODES) for _ in range(4))
    demand_of_misses(served, remote, read, write, moving, 4.0, 20.0, 3, 1.0, inflight, idle, waiting, moved)
    share = (served[:, :, 0] / 4.0 + served[:, :, 1] / 20.0) / 3
    lines, dirty = served[:, :, :2].sum(axis=(0, 2)), served[:, :, 2].sum(axis=0)
    dirty_share = np.divide(dirty, lines, out=np.zeros(NODES), where=lines > 0)
    np.testing.assert_allclose(inflight, share.sum(axis=0))
    np.testing.assert_allclose(waiting, (share * remote).sum(axis=0))
    np.testing.assert_allclose(idle, read + dirty_share * (write - read))
    np.testing.assert_allclose(moved, 64 * (lines + dirty) + moving)


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
