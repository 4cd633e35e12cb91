"""How long a slice takes: from the misses that each node served to time, latencies and bandwidth in use."""

from __future__ import annotations

import numpy as np

from pghot.arrays import F64
from pghot.jit import njit
from pghot.sim.machine.curves import load_curve, stack_curves
from pghot.sim.machine.loaded_latency import demand_of_misses, solve_slice_ns
from pghot.sim.machine.topology import Topology
from pghot.units import LINE_BYTES

_LITTLE = 1e-3  # of a slice's misses: what is added to see what it costs

# Rows of the constants of the nodes, and of what a slice asks of each and makes of each: float64[.., nodes]. A kernel
# takes three arrays sooner than fifteen.
_READ_NS, _WRITE_NS, _IDLE_NS, _PEAK, _RIVAL_LINES = range(5)
_COPY_WAITS, _MIX_NS, _LINES, _READS = range(4)
_LATENCY_NS, _USED_SHARE, _MOVING_BYTES, _COPY_NS, _SLOWDOWN, _SERVED = range(6)


class SliceTiming:
    """Times the slices of a machine with these nodes. The arrays are always the same ones.

    served        float64[initiators, nodes, 4]  the misses of the slice, as `touch.serve` sets them
    moving_bytes  float64[nodes]  bytes that migration and tracking move to or from each node in the slice; the machine
                  adds to them
    copy_ns       float64[nodes]  time that the program's threads, taken together, would spend in the slice on copies
                  that wait for each node if it were idle; the machine adds to it
    latency_ns    float64[nodes]  loaded latency in the last slice
    used_share    float64[nodes]  share of each node's bandwidth in use in the last slice
    slowdown      float64[nodes]  loaded over idle latency, in the mean of the last slices
    served_total  float64[nodes]  misses that each node has served so far
    """

    def __init__(self, topology: Topology, threads: int, crews: int, mean_ns: float) -> None:
        """mean_ns  machine time over which `slowdown` is averaged
        crews    see `SimulatedMachine`
        """
        nodes, count = topology.nodes, len(topology.nodes)
        rival = topology.antagonist
        self._nodes = np.zeros((5, count))
        self._nodes[_READ_NS] = self._nodes[_IDLE_NS] = [node.latency_ns for node in nodes]
        self._nodes[_WRITE_NS] = [node.write_latency_ns or node.latency_ns for node in nodes]
        self._nodes[_PEAK] = np.array([node.bandwidth_gb_s for node in nodes]) / LINE_BYTES  # lines/ns
        self._nodes[_RIVAL_LINES, rival.node] = (
            rival.cores * rival.lines_in_flight_per_core / rival.read_share
        )
        self._rival_reads, self._mlp_sequential = rival.read_share, topology.costs.mlp_sequential
        self._curves = stack_curves([load_curve(node.curve_name) for node in nodes])
        self._scratch = np.zeros((count, 2, self._curves[1].shape[1]))
        self._remote_ns = np.array(
            [[node.remote_ns.get(str(initiator), 0.0) for node in nodes] for initiator in range(count)]
        )
        self._demand = np.zeros((4, count))
        self._busy, self._waits = np.zeros(crews), np.zeros((crews, count))
        self._threads, self._crew_threads = threads, max(1, threads // crews)
        self._mean_ns = mean_ns
        self._busy_ns = 0.0
        self.served = np.zeros((count, count, 4))
        self._state = np.zeros((6, count))
        (
            self.latency_ns,
            self.used_share,
            self.moving_bytes,
            self.copy_ns,
            self.slowdown,
            self.served_total,
        ) = self._state
        self.latency_ns[:], self.slowdown[:] = self._nodes[_READ_NS], 1.0

    def set_latency(self, node: int, latency_ns: float) -> None:
        """Set how long reads and writes of a node take in the slice that is about to be timed."""
        self._nodes[_READ_NS, node] = self._nodes[_WRITE_NS, node] = latency_ns

    def run_slice(self, busy_ns: float, now_ns: float) -> tuple[float, float]:
        """Time the slice whose misses are in `served`, and begin one in which nothing is moved yet.

        busy_ns  time in which each thread computes, tracks and moves
        now_ns   when the slice begins

        Returns how long it takes, and how long the program's copies take in it.
        """
        self._busy_ns = busy_ns
        duration_ns = self._solve()
        copied_ns = book_slice(duration_ns, now_ns, self._mean_ns, self.served, self._nodes, self._state)
        return duration_ns, float(copied_ns)

    def _solve(self) -> float:
        duration_ns: float = solve(
            self.served, self._nodes, self._remote_ns, self._rival_reads, self._mlp_sequential, self._crew_threads,
            *self._curves, self._busy_ns, self._busy, self._waits, self._demand, self._scratch, self._state,
        )  # fmt: skip
        return duration_ns

    def worst_slowdown(self) -> float:
        """How much slower than idle the node is that is loaded most, in the mean of the last slices; at least 1."""
        return max(1.0, float(self.slowdown.max()))

    def offcore(self) -> tuple[float, float]:
        """Of the last slice: how long cores had a demand read outstanding, ns added up, and how many reads these were.

        Intel's OFFCORE_REQUESTS_OUTSTANDING.CYCLES_WITH_DEMAND_DATA_RD and OFFCORE_REQUESTS.DEMAND_DATA_RD count this.
        Sequential misses are the prefetchers'.
        """
        waits_ns = self.served[:, :, 3] * (self.latency_ns + self._remote_ns)
        return float(waits_ns.sum()), float(self.served[:, :, 0].sum())

    def marginal_ns(self) -> F64:
        """float64[nodes]: how much longer the last slice would have taken for one more latency waited for on each node.

        A latency waited for comes with as many misses as it did on average. It can cost more than itself: where a node
        is busy, all others wait longer too.
        """
        served, state = self.served.copy(), self._state.copy()
        misses, waits = float(served[:, :, :2].sum()), float(served[:, :, 3].sum())
        if misses == 0.0 or waits == 0.0:
            price_ns: F64 = self.latency_ns / self._threads
            return price_ns
        more = np.zeros_like(served)
        initiator = int(served[:, :, 0].sum(axis=1).argmax())
        price_ns = np.empty(len(self.latency_ns))
        base_ns = self._solve()
        for node in range(len(price_ns)):
            more[:] = 0.0
            more[initiator, node, 0], more[initiator, node, 3] = _LITTLE * misses, _LITTLE * waits
            np.add(served, more, out=self.served)
            price_ns[node] = (self._solve() - base_ns) / (_LITTLE * waits)
        self.served[:], self._state[:] = served, state
        return price_ns

    def marginal_byte_ns(self) -> F64:
        """float64[nodes]: how much longer the last slice would have taken for each byte more moved to or from a node.

        Little where no node is busy: the copies then use bandwidth that nobody wants.
        """
        state, more_bytes = self._state.copy(), _LITTLE * LINE_BYTES * float(self.served[:, :, :2].sum())
        price_ns = np.zeros(len(self.latency_ns))
        if more_bytes == 0.0:
            return price_ns
        base_ns = self._solve()
        for node in range(len(price_ns)):
            self.moving_bytes[node] = more_bytes
            price_ns[node] = max(0.0, self._solve() - base_ns) / more_bytes
            self.moving_bytes[node] = 0.0
        self._state[:] = state
        return price_ns


@njit(cache=True)
def solve(
    served: F64,
    nodes: F64,
    remote_ns: F64,
    rival_reads: float,
    mlp_sequential: float,
    crew_threads: int,
    share: F64,
    load: F64,
    growth: F64,
    busy_ns: float,
    busy: F64,
    waits: F64,
    demand: F64,
    scratch: F64,
    state: F64,
) -> float:
    """How long the slice takes, ns; sets latencies and shares of bandwidth in `state`.

    nodes, demand, state  float64[5, nodes], float64[4, nodes], float64[6, nodes]; rows as named above
    The others are those of `demand_of_misses` and `solve_slice_ns`.
    """
    latency_ns = state[_LATENCY_NS]
    for node in range(len(latency_ns)):
        demand[_COPY_WAITS, node] = state[_COPY_NS, node] / nodes[_IDLE_NS, node]
    demand_of_misses(
        served, remote_ns, nodes[_READ_NS], nodes[_WRITE_NS], state[_MOVING_BYTES], demand[_COPY_WAITS],
        mlp_sequential, crew_threads, busy_ns, busy, waits, demand[_MIX_NS], demand[_LINES], demand[_READS],
    )  # fmt: skip
    duration_ns = solve_slice_ns(
        busy, waits, demand[_LINES], demand[_READS], demand[_MIX_NS], nodes[_PEAK], nodes[_RIVAL_LINES], rival_reads,
        share, load, growth, scratch, latency_ns,
    )  # fmt: skip
    for node in range(len(latency_ns)):
        rate = demand[_LINES, node] / max(duration_ns, 1e-9) + nodes[_RIVAL_LINES, node] / latency_ns[node]
        state[_USED_SHARE, node] = rate / nodes[_PEAK, node]
    return float(duration_ns)


@njit(cache=True)
def book_slice(
    duration_ns: float, now_ns: float, mean_ns: float, served: F64, nodes: F64, state: F64
) -> float:
    """Take the slice that `solve` timed into the means and totals in `state`, and clear what moved in it.

    now_ns, mean_ns  see `SliceTiming`

    Returns how long the program's copies take in it.
    """
    span_ns = max(duration_ns, min(now_ns + duration_ns, mean_ns))
    weight = (
        duration_ns / span_ns if span_ns > 0 else 0.0
    )  # a recording may begin with slices in which nothing ran
    copied_ns = 0.0
    for node in range(state.shape[1]):
        slowdown = state[_LATENCY_NS, node] / nodes[_IDLE_NS, node]
        copied_ns += state[_COPY_NS, node] * slowdown
        state[_SLOWDOWN, node] += (slowdown - state[_SLOWDOWN, node]) * weight
        for initiator in range(served.shape[0]):
            state[_SERVED, node] += served[initiator, node, 0] + served[initiator, node, 1]
        state[_MOVING_BYTES, node] = state[_COPY_NS, node] = 0.0
    return copied_ns
