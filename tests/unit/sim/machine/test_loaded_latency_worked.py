"""Loaded latency on curves of a few points, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pghot.sim.machine.curves import Curve, stack_curves
from pghot.sim.machine.loaded_latency import (
    blend_curve,
    demand_of_misses,
    last_rising,
    latency_at_lines,
    latency_at_rate,
    solve_slice_ns,
)
from pghot.sim.machine.slice_timing import SliceTiming
from pghot.sim.machine.topology import Antagonist, load_topology

LOAD = np.array([0.0, 0.5, 1.0, 2.0])
HALF, ALL = [1.0, 2.0, 4.0, 8.0], [1.0, 1.0, 2.0, 4.0]  # growth at half reads, and at reads alone

# Lines in flight, and ns. Throughput in lines/ns: 0.01, 0.04, 0.05, 0.04.
CURVE = np.array([[1.0, 5.0, 10.0, 20.0], [100.0, 125.0, 200.0, 500.0]])


def blended(
    share: list[float], growth: list[list[float]], reads: float, peak: float = 0.1
) -> list[list[float]]:
    out = np.zeros((2, 4))
    blend_curve(np.array(share), LOAD, np.array(growth), reads, 100.0, peak, out)
    return out.tolist()  # type: ignore[no-any-return]


def test_between_two_shares_of_reads_growth_is_in_between() -> None:
    """100 ns at 0.1 lines a ns are 10 lines in flight at a load of 1; a single line waits for nobody."""
    assert blended([0.5, 1.0], [HALF, ALL], 0.75) == [[1, 5, 10, 20], [100, 150, 300, 600]]
    assert blended([0.5, 1.0], [HALF, ALL], 0.5)[1] == [100, 200, 400, 800]
    assert blended([0.5, 1.0], [HALF, ALL], 0.2)[1] == [100, 200, 400, 800]
    assert blended([0.5, 1.0], [HALF, ALL], 1.0)[1] == [100, 100, 200, 400]
    assert blended([0.5, 0.9], [HALF, ALL], 1.0)[1] == [100, 100, 200, 400]
    assert blended([1.0], [ALL], 0.3)[1] == [100, 100, 200, 400]
    assert blended([1.0, 1.0], [ALL, HALF], 1.0)[1] == [100, 100, 200, 400], "a repeated share is no other"


@pytest.mark.parametrize(("reads", "at_2"), [(0.0, 800), (0.25, 600), (0.5, 400), (0.75, 1000), (1.0, 1600)])
def test_of_three_shares_the_two_around_it_count(reads: float, at_2: float) -> None:
    steep = [1.0, 2.0, 4.0, 16.0]
    assert blended([0.0, 0.5, 1.0], [HALF, ALL, steep], reads)[1][3] == at_2


def test_a_device_that_serves_few_lines_is_idle_up_to_half_of_its_first_point() -> None:
    assert blended([1.0], [ALL], 1.0, peak=0.01)[0] == [0.25, 0.5, 1, 2]


def test_the_point_of_the_highest_throughput_moves_with_a_rival() -> None:
    assert last_rising(CURVE, 0.0) == 2
    # Four lines of a rival: -3, 1, 6 and 16 are left: 0.008, 0.03 and 0.032 lines a ns.
    assert last_rising(CURVE, 4.0) == 3
    assert last_rising(np.array([[1.0, 2.0, 4.0], [100.0, 100.0, 200.0]]), 0.0) == 1, "the first of equals"
    assert last_rising(CURVE, 30.0) == 0


def test_a_latency_for_a_throughput() -> None:
    """Between 1 and 5 lines, at 0.02: 1 + 4 x lines over 100 + 25 x ns are that at x = 1 / 3.5."""
    assert latency_at_rate(CURVE, 0.009, 0.0, 2) == latency_at_rate(CURVE, 0.01, 0.0, 2) == 100
    assert latency_at_rate(CURVE, 0.02, 0.0, 2) == pytest.approx(100 + 25 / 3.5)
    assert latency_at_rate(CURVE, 0.04, 0.0, 2) == pytest.approx(125)
    # Between 5 and 10: 0.045 x 125 = 5.625, so x = 0.625 / (5 - 0.045 x 75).
    assert latency_at_rate(CURVE, 0.045, 0.0, 2) == pytest.approx(125 + 75 * 0.625 / 1.625)
    assert latency_at_rate(CURVE, 0.05, 0.0, 2) == pytest.approx(200)
    assert latency_at_rate(CURVE, 0.06, 0.0, 2) == pytest.approx(200), "no more than there is"
    # A rival's line: (4 x) / (100 + 25 x) = 0.02 at x = 2 / 3.5.
    assert latency_at_rate(CURVE, 0.02, 1.0, 2) == pytest.approx(100 + 25 * 2 / 3.5)
    assert latency_at_rate(CURVE, 0.02, 0.0, 0) == 100, "a curve that falls from its first point on"


@pytest.mark.parametrize(
    ("lines", "ns"),
    [(0, 100), (1, 100), (3, 112.5), (5, 125), (7.5, 162.5), (10, 200), (15, 350), (20, 500), (40, 1_000)],
)
def test_a_latency_for_lines_in_flight(lines: float, ns: float) -> None:
    assert latency_at_lines(CURVE, lines) == pytest.approx(ns)


def demand(crews: int, threads: int) -> tuple[list[list[float]], ...]:
    served = np.zeros((2, 2, 4))
    served[0, 0] = [30, 40, 14, 10]  # random, sequential, dirty, waits
    served[0, 1] = [8, 0, 0, 8]
    served[1, 0] = [0, 20, 0, 0]
    remote = np.array([[0.0, 50.0], [60.0, 0.0]])
    busy, waits = np.zeros(crews), np.zeros((crews, 2))
    idle, lines, reads = np.zeros(2), np.zeros(2), np.zeros(2)
    demand_of_misses(
        served, remote, np.array([100.0, 270.0]), np.array([200.0, 900.0]), np.array([6_400.0, 0.0]),
        np.array([4.0, 0.0]), 20.0, threads, 1_000.0, busy, waits, idle, lines, reads,
    )  # fmt: skip
    assert idle == pytest.approx([100 + 14 / 90 * 100, 270])  # 14 of 90 misses dirty a line
    assert lines.tolist() == [90 + 14 + 100, 8]
    assert reads == pytest.approx([(90 + 50) / 204, 1.0])  # moves are half reads
    return busy.tolist(), waits.tolist()


def test_what_one_crew_of_two_threads_waits_for() -> None:
    """Node 0: 10 waits, and 60 sequential misses by 20; and 4 for copies. Node 1: 8, over a way of 50 ns.

    The second node's CPUs have one wait of node 0, over a way of 60 ns. Two threads have half of each.
    """
    busy, waits = demand(crews=1, threads=2)
    assert waits == [[(10 + 2 + 1 + 4) / 2, 4.0]]
    assert busy == [1_000 + 4 * 50 + 0.5 * 60]


def test_what_a_crew_of_each_node_waits_for() -> None:
    busy, waits = demand(crews=2, threads=1)
    assert waits == [[10 + 2 + 4 / 2, 8.0], [1 + 4 / 2, 0.0]]
    assert busy == [1_000 + 8 * 50, 1_000 + 60]


def solved(
    busy: list[float], waits: list[list[float]], lines: list[float], rival: float = 0.0
) -> tuple[float, list[float]]:
    """Nodes of 100 ns and 0.1 lines a ns. Up to a load of 1 nothing waits, and past it nothing more is served."""
    nodes = len(lines)
    curve = Curve(np.array([1.0]), np.array([0.0, 1.0, 2.0]), np.array([[1.0, 1.0, 2.0]]))
    latency = np.full(nodes, 100.0)
    rivals = np.zeros(nodes)
    rivals[0] = rival
    took = solve_slice_ns(
        np.array(busy), np.array(waits), np.array(lines), np.ones(nodes), np.full(nodes, 100.0),
        np.full(nodes, 0.1), rivals, 1.0, *stack_curves([curve] * nodes), np.zeros((nodes, 2, 3)), latency,
    )  # fmt: skip
    return took, latency.tolist()


def test_below_saturation_a_slice_takes_what_it_computes_and_waits() -> None:
    assert solved([7_500.0], [[50.0]], [1_000.0]) == (pytest.approx(12_500), [pytest.approx(100)])
    assert solved([5_000.0], [[50.0]], [1_000.0]) == (pytest.approx(10_000), [pytest.approx(100)])


def test_a_saturated_node_serves_at_its_peak() -> None:
    """1,000 lines at 0.1 a ns are 10,000 ns, whether they are waited for 50 times at 200 ns or 25 times at 400."""
    assert solved([0.0], [[50.0]], [1_000.0]) == (pytest.approx(10_000), [pytest.approx(200)])
    assert solved([0.0], [[25.0]], [1_000.0]) == (pytest.approx(10_000), [pytest.approx(400)])
    assert solved([2_000.0], [[40.0]], [1_000.0]) == (pytest.approx(10_000), [pytest.approx(200)])


def test_copies_that_nobody_waits_for_take_a_whole_node() -> None:
    assert solved([10.0], [[0.0]], [1_000.0])[0] == pytest.approx(10_000)
    assert solved([0.0, 30.0], [[0.0], [0.0]], [0.0])[0] == 30


def test_the_slowest_crew_ends_the_slice() -> None:
    """Crews of 2,000 + 30 x 100 and 1,000 + 45 x 100 ns."""
    assert solved([2_000.0, 1_000.0], [[30.0], [45.0]], [100.0])[0] == pytest.approx(5_500)


def test_a_rival_has_its_part_of_a_saturated_node() -> None:
    """The program keeps 1000 / 50 lines in flight and the rival 10: at a load of 3 each takes 300 ns."""
    took, latency = solved([0.0], [[50.0]], [1_000.0], rival=10.0)
    assert (took, latency) == (pytest.approx(15_000), [pytest.approx(300)])


def test_reads_and_a_rivals_writes_make_one_mixture() -> None:
    """Latency doubles for writes alone and stays for reads alone. The rival's one line of writes waits as long as each
    of the program's, which is one line as well: half of the traffic is reads, so it waits for one and a half latencies.
    """
    curve = Curve(
        np.array([0.0, 1.0]), np.array([0.0, 1.0, 2.0]), np.array([[2.0, 2.0, 4.0], [1.0, 1.0, 2.0]])
    )
    latency = np.full(1, 100.0)
    took = solve_slice_ns(
        np.zeros(1), np.array([[50.0]]), np.array([50.0]), np.ones(1), np.full(1, 100.0), np.full(1, 0.1),
        np.ones(1), 0.0, *stack_curves([curve]), np.zeros((1, 2, 3)), latency,
    )  # fmt: skip
    assert (took, latency.tolist()) == (pytest.approx(7_500), [pytest.approx(150)])


def test_beside_a_narrow_node_the_other_has_its_own_latency() -> None:
    """Node 0 takes 10,000 ns for its lines, and half of its loads; node 1 serves its 500 in that time."""
    took, latency = solved([0.0], [[25.0, 50.0]], [1_000.0, 500.0])
    assert took == pytest.approx(10_000)
    assert latency == pytest.approx([200, 100])  # 25 x 200 + 50 x 100


def test_a_slice_in_figures() -> None:
    """100 ns for each of 1,000 misses of one core, 64 B each at 200 GB/s; and 10 us of computing."""
    timing = SliceTiming(load_topology("dram-cxl"), threads=1, crews=1, mean_ns=1e6)
    timing.served[0, 0] = [1_000, 0, 0, 1_000]
    assert timing.run_slice(10_000, 0.0) == (pytest.approx(110_000, rel=1e-6), 0)
    assert timing.used_share == pytest.approx([64_000 / 110_000 / 200, 0.0])
    assert timing.slowdown == pytest.approx([1, 1])
    assert timing.served_total.tolist() == [1_000, 0]
    # One latency more costs itself, on either node; and the next slice is as it was.
    assert timing.marginal_ns() == pytest.approx([100, 271], rel=1e-4)
    assert timing.latency_ns == pytest.approx([100, 271])
    assert timing.served[0, 0].tolist() == [1_000, 0, 0, 1_000]
    timing.moving_bytes[1], timing.copy_ns[1] = 6_400, 271.0
    found = timing.run_slice(0, 110_000.0)  # a copy waits for one latency more
    assert found == (pytest.approx(100_271, rel=1e-6), pytest.approx(271, rel=1e-6))
    assert timing.run_slice(0, 210_000.0) == (pytest.approx(100_000, rel=1e-6), 0)
    assert timing.served_total.tolist() == [3_000, 0]
    timing.served[:] = 0
    assert timing.marginal_ns().tolist() == [100, 271]
    timing.set_latency(1, 500)
    timing.served[0, 1] = [10, 0, 10, 10]
    assert timing.run_slice(0, 310_000.0)[0] == pytest.approx(5_000, rel=1e-3)


@pytest.mark.parametrize(("now_ns", "weight"), [(0.0, 1.0), (10_000.0, 0.5), (70_000.0, 0.25), (1e9, 0.25)])
def test_slowdown_is_a_mean_over_the_time_that_was_but_not_more_than_so_much(
    now_ns: float, weight: float
) -> None:
    """A slice of 10,000 ns, after so many, in a mean over 40,000. It doubles a latency of 271 ns."""
    timing = SliceTiming(load_topology("dram-cxl"), threads=1, crews=1, mean_ns=40_000.0)
    timing.set_latency(1, 542)
    timing.served[0, 1] = [1, 0, 0, 1]
    assert timing.run_slice(9_458, now_ns)[0] == pytest.approx(10_000, rel=1e-4)
    assert timing.slowdown == pytest.approx([1, 1 + weight], rel=1e-3)


def test_threads_share_the_misses_and_a_rival_is_there_from_the_start() -> None:
    """4 cores of 20 lines, half of them reads, keep 160 lines on node 1: at 64 B that is more than 26 GB/s."""
    rival = Antagonist(node=1, cores=4, lines_in_flight_per_core=20, read_share=0.5)
    timing = SliceTiming(
        load_topology("dram-cxl").model_copy(update={"antagonist": rival}), threads=4, crews=1, mean_ns=1e6
    )
    timing.served[0, 0] = [1_000, 0, 0, 1_000]
    assert timing.run_slice(0, 0.0)[0] == pytest.approx(
        25_000, rel=2e-3
    )  # four lines in flight wait a little
    assert timing.latency_ns[0] == pytest.approx(100, rel=2e-3)
    assert timing.latency_ns[1] > 271
    assert timing.used_share[1] == pytest.approx(160 / timing.latency_ns[1] / (26 / 64))
    assert timing.marginal_ns()[0] == pytest.approx(25, rel=5e-3)
