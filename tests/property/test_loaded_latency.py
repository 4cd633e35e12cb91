"""The closed loop of a slice against a plain reference, and against physics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pghot.sim.machine.curves import CURVES, load_curve, stack_curves
from pghot.sim.machine.loaded_latency import demand_of_misses, solve_slice_ns
from references.sim.machine.loaded_latency import points_reference, solve_reference

NAMES = st.sampled_from(CURVES.names())
PEAK_GB_S, IDLE_NS = {"a": 200.0, "b": 26.0}, {"a": 100.0, "b": 271.0}


def solve(
    busy_ns: float,
    waits: list[float],
    lines: list[float],
    *,
    reads: list[float] | None = None,
    names: tuple[str, ...] = ("ddr5", "cxl"),
    idle_ns: tuple[float, ...] = (100.0, 271.0),
    gb_s: tuple[float, ...] = (200.0, 26.0),
    rival: tuple[float, ...] | None = None,
    rival_reads: float = 1.0,
) -> tuple[float, list[float]]:
    """Duration and latencies; reads only and no rival unless given."""
    count = len(waits)
    curves = stack_curves([load_curve(name) for name in names[:count]])
    latency_ns = np.zeros(count)
    duration = solve_slice_ns(
        np.full(1, busy_ns),
        np.array([waits]),
        np.array(lines),
        np.array(reads or [1.0] * count),
        np.array(idle_ns[:count]),
        np.array(gb_s[:count]) / 64,
        np.array((rival or (0.0,) * count)[:count]),
        rival_reads,
        *curves,
        np.zeros((count, 2, curves[1].shape[1])),
        latency_ns,
    )
    return float(duration), latency_ns.tolist()


amounts = st.floats(1.0, 1e6)
in_flight = st.floats(0.5, 2000.0)
read_shares = st.floats(0.3, 1.0)


@given(NAMES, st.floats(0, 1e6), amounts, in_flight, read_shares)
def test_one_node_as_by_plain_bisection(
    name: str, busy_ns: float, lines: float, at_once: float, reads: float
) -> None:
    waits = lines / at_once
    ours, _ = solve(busy_ns, [waits], [lines], reads=[reads], names=(name,))
    plain = solve_reference(busy_ns, waits, lines, load_curve(name), reads, 100.0, 200 / 64)
    assert ours == pytest.approx(plain, rel=1e-6)


@given(st.floats(0, 1e6), st.tuples(amounts, amounts), in_flight, read_shares)
def test_the_answer_closes_the_loop_and_no_node_serves_more_than_it_can(
    busy_ns: float, lines: tuple[float, float], at_once: float, reads: float
) -> None:
    """T = busy + sum of waits * latency, and the lines in flight that follow are on each node's curve."""
    waits = [each / at_once for each in lines]
    duration, latency = solve(busy_ns, waits, list(lines), reads=[reads, reads])
    stalled = sum(wait * ns for wait, ns in zip(waits, latency, strict=True))
    assert duration == pytest.approx(busy_ns + stalled, rel=1e-9)
    for name, idle, peak, count, ns in zip(
        ("ddr5", "cxl"), (100.0, 271.0), (200 / 64, 26 / 64), lines, latency, strict=True
    ):
        at, grown = points_reference(load_curve(name), reads, idle, peak)
        flying = count * ns / duration
        assert count / duration <= max(at / grown) * (1 + 1e-6)
        expected = np.interp(flying, at, grown) if flying <= at[-1] else grown[-1] * flying / at[-1]
        assert ns == pytest.approx(expected, rel=1e-4)


@given(st.floats(0, 1e6), st.tuples(amounts, amounts), in_flight, st.floats(1.0, 3.0))
def test_more_work_never_takes_less_time(
    busy_ns: float, lines: tuple[float, float], at_once: float, more: float
) -> None:
    waits = [each / at_once for each in lines]
    once, _ = solve(busy_ns, waits, list(lines))
    again, _ = solve(busy_ns * more, [each * more for each in waits], [each * more for each in lines])
    assert again == pytest.approx(once * more, rel=1e-6), "twice the slice takes twice the time"
    busier, _ = solve(busy_ns * more, waits, list(lines))
    # A saturated device serves more when less is offered: computing more can then pay for itself, but for no more.
    assert busier >= once * 0.85
    assume(at_once < 100)
    assert busier >= once * (1 - 1e-7)


def test_idle_means_idle() -> None:
    """One thread that follows a list: exactly the ratio of the latencies, however slow or fast the links."""
    for name in CURVES.names():
        fast, _ = solve(0.0, [1e6], [1e6], names=(name,))
        slow, _ = solve(0.0, [1e6], [1e6], names=(name,), idle_ns=(271.0,), gb_s=(26.0,))
        assert fast == 1e8
        assert slow / fast == 2.71


def test_a_saturated_link_gives_the_ratio_of_the_bandwidths() -> None:
    """1000 lines in flight saturate both nodes: the times are as 200 to 25 GB/s."""
    times = [solve(0.0, [1e6 / 1000], [1e6], names=("ddr5",), gb_s=(peak,))[0] for peak in (200.0, 25.0)]
    assert 64e6 / times[0] == pytest.approx(200, rel=1e-3)
    assert 64e6 / times[1] == pytest.approx(25, rel=1e-3)


def test_reads_bend_late_and_writes_bend_early() -> None:
    """Sapphire Rapids as measured: at 60 % of the peak 1.2 times idle with reads only, and 1.7 with 57 % reads."""
    lines = 1e6
    for reads, least, most in ((1.0, 1.1, 1.2), (0.57, 1.5, 1.7)):
        rate = 0.6 * 200 / 64
        _, latency = solve(lines / rate, [1e-9], [lines], reads=[reads], names=("ddr5",))
        assert least < latency[0] / 100 < most


def test_cxl_is_flat_then_a_wall_then_falls() -> None:
    """In closed loop; 26.76 GB/s is the measured peak of reads, and 2:1 reads and writes reach 1.41 times that."""

    def served(lines_at_once: float, reads: float = 1.0) -> float:
        time, _ = solve(
            0.0, [1e6 / lines_at_once], [1e6], reads=[reads], names=("cxl",), idle_ns=(250.0,), gb_s=(26.76,)
        )
        return 64e6 / time

    assert served(95) == pytest.approx(95 * 64 / 260, rel=0.03), (
        "flat: hardly slower than idle at 88 % of the peak"
    )
    assert served(200) == pytest.approx(26.7, rel=0.005)
    assert served(400) == pytest.approx(26.1, rel=0.01)
    assert served(1000) == pytest.approx(24.16, rel=0.001), "nine tenths of the peak"
    assert served(300, reads=0.67) == pytest.approx(1.41 * 26.76, rel=0.01)


def test_nine_points_of_a_device() -> None:
    """The lines in flight of each point, throughput times latency, give both back."""
    for gb_s, ns in ((5.4, 562), (11.0, 589), (15.9, 627), (19.6, 669), (21.4, 744), (21.7, 881), (21.4, 1041),
                     (20.3, 1458), (19.6, 1573)):  # fmt: skip
        flying = gb_s * ns / 64
        time, latency = solve(0.0, [1e6 / flying], [1e6], names=("cxl-fpga",), idle_ns=(550.0,), gb_s=(21.7,))
        assert latency[0] == pytest.approx(ns, rel=1e-6)
        assert 64e6 / time == pytest.approx(gb_s, rel=1e-6)


def test_interleaved_streams_run_at_the_least_of_bandwidth_over_weight() -> None:
    """STREAM over two nodes: min(200 / w, 26 / (1 - w)), at best 226 GB/s with the weights 200 : 26."""
    for weight in (0.5, 0.8, 200 / 226, 0.95):
        lines = [1e6 * weight, 1e6 * (1 - weight)]
        time, _ = solve(
            0.0, [each / 4000 for each in lines], lines, names=("ddr5", "ddr5"), idle_ns=(100.0, 250.0)
        )
        assert 64e6 / time == pytest.approx(min(200 / weight, 26 / (1 - weight)), rel=0.01)


def test_a_rival_takes_bandwidth_in_proportion_to_its_lines() -> None:
    """100 lines of ours beside 300 of a rival on a saturated node: a quarter of it is ours."""
    time, latency = solve(0.0, [1e6 / 300], [1e6], names=("ddr5",), rival=(900.0,))
    assert 64e6 / time == pytest.approx(200 / 4, rel=1e-3)
    assert latency[0] == pytest.approx(1200 * 64 / 200, rel=1e-3)


@given(st.floats(0.3, 1), st.floats(0.3, 1), st.floats(1, 500))
def test_a_rivals_writes_count_as_its_share_of_the_traffic(own: float, other: float, lines: float) -> None:
    """Between the times that the two shares alone would give."""
    times = [
        solve(1e3, [100.0], [1e4], names=("ddr5",), reads=[mix], rival=(lines,), rival_reads=rival)[0]
        for mix, rival in ((own, other), (own, own), (other, other))
    ]
    assert min(times[1:]) * (1 - 1e-6) <= times[0] <= max(times[1:]) * (1 + 1e-6)


@given(st.integers(0, 2**32 - 1))
def test_demand_equals_the_sums_written_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    served = rng.integers(0, 100, (3, 3, 4)).astype(float)
    remote, read = rng.random((3, 3)) * 100, 100 + rng.random(3) * 300
    write, moving, copies = read * 1.5, rng.random(3) * 1e4, rng.random(3) * 50
    crews = int(rng.choice([1, 3]))
    busy, waits = np.zeros(crews), np.zeros((crews, 3))
    idle, lines, reads = (np.zeros(3) for _ in range(3))
    demand_of_misses(
        served, remote, read, write, moving, copies, 20.0, 3, 1000.0, busy, waits, idle, lines, reads
    )  # fmt: skip
    share = (served[:, :, 3] + served[:, :, 1] / 20.0) / 3
    missed, dirty = served[:, :, :2].sum(axis=(0, 2)), served[:, :, 2].sum(axis=0)
    dirty_share = np.divide(dirty, missed, out=np.zeros(3), where=missed > 0)
    by_crew = share if crews > 1 else share.sum(axis=0, keepdims=True)
    way = share * remote if crews > 1 else (share * remote).sum(axis=0, keepdims=True)
    np.testing.assert_allclose(waits, by_crew + copies / (3 * crews))
    np.testing.assert_allclose(busy, 1000 + way.sum(axis=1))
    np.testing.assert_allclose(idle, read + dirty_share * (write - read))
    np.testing.assert_allclose(lines, missed + dirty + moving / 64)
    np.testing.assert_allclose(reads, (missed + moving / 128) / lines)


def test_a_pointer_chase_beside_a_scan_stalls_as_its_parts_do() -> None:
    """1000 dependent misses and 8000 in parallel by 8, and 20000 sequential: 1000 + 1000 + 1000 latencies."""
    served = np.zeros((1, 1, 4))
    served[0, 0] = [9000, 20000, 0, 1000 / 1 + 8000 / 8]
    busy, idle_ns, lines, reads = (np.zeros(1) for _ in range(4))
    waits, hundred = np.zeros((1, 1)), np.full(1, 100.0)
    demand_of_misses(
        served,
        np.zeros((1, 1)),
        hundred,
        hundred,
        np.zeros(1),
        np.zeros(1),
        20.0,
        1,
        0.0,
        busy,
        waits,
        idle_ns,
        lines,
        reads,
    )
    assert waits[0, 0] == 3000
    assert lines[0] == 29000


def test_a_write_costs_its_line_back_and_a_move_half_reads() -> None:
    """100 misses, 40 of them dirty, and 10 lines moved: 150 lines, of which 105 are reads."""
    served = np.zeros((1, 1, 4))
    served[0, 0] = [100, 0, 40, 25]
    busy, idle_ns, lines, reads = (np.zeros(1) for _ in range(4))
    waits = np.zeros((1, 1))
    demand_of_misses(
        served, np.full((1, 1), 60.0), np.full(1, 100.0), np.full(1, 300.0), np.full(1, 640.0),
        np.full(1, 35.0), 20.0, 5, 1000.0, busy, waits, idle_ns, lines, reads,
    )  # fmt: skip
    assert (waits[0, 0], lines[0], reads[0]) == (12, 150, 0.7), "25 / 5 and 35 / 5"
    assert idle_ns[0] == 180, "40 % of the misses take as long as a store"
    assert busy[0] == 1300, "5 latencies, each 60 ns longer"


def test_ranks_wait_for_the_slowest_and_a_pool_does_not() -> None:
    """Two nodes of one thread each, 1000 misses each, at 100 and 300 ns: the ranks take 300 us, the pool 200."""
    curves = stack_curves([load_curve("ddr5")] * 2)
    served = np.zeros((2, 2, 4))
    served[0, 0] = served[1, 1] = [1000, 0, 0, 1000]
    times = []
    for crews, threads in ((1, 2), (2, 1)):
        busy, waits = np.zeros(crews), np.zeros((crews, 2))
        idle_ns, lines, reads, latency_ns = (np.zeros(2) for _ in range(4))
        read_ns = np.array([100.0, 300.0])
        demand_of_misses(
            served, np.zeros((2, 2)), read_ns, read_ns, np.zeros(2), np.zeros(2), 20.0, threads, 0.0,
            busy, waits, idle_ns, lines, reads,
        )  # fmt: skip
        times.append(
            solve_slice_ns(
                busy, waits, lines, reads, idle_ns, np.full(2, 1.0), np.zeros(2), 1.0, *curves,
                np.zeros((2, 2, curves[1].shape[1])), latency_ns,
            )
        )  # fmt: skip
    assert times == pytest.approx([200_000, 300_000], rel=1e-3), (
        "1.5 lines are in flight to the slow node of the pool"
    )
