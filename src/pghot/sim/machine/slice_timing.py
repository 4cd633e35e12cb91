"""How long a slice takes: from the misses that each node served to time, latencies and bandwidth in use."""

from __future__ import annotations

import numpy as np

from pghot.arrays import F64
from pghot.sim.machine.curves import load_curve, stack_curves
from pghot.sim.machine.loaded_latency import demand_of_misses, solve_slice_ns
from pghot.sim.machine.topology import Topology
from pghot.units import LINE_BYTES

_LITTLE = 1e-3  # of a slice's misses: what is added to see what it costs


class SliceTiming:
    """Times the slices of a machine with these nodes.

    served        float64[initiators, nodes, 4]  the misses of the slice, as `touch.serve` sets them
    moving_bytes  float64[nodes]  bytes that migration and tracking move to or from each node in the slice; the machine
                  adds to them and clears them
    copy_ns       float64[nodes]  time that the program's threads, taken together, would spend in the slice on copies
                  that wait for each node if it were idle; the machine adds to it and clears it
    latency_ns    float64[nodes]  loaded latency in the last slice; always the same array
    used_share    float64[nodes]  share of each node's bandwidth in use in the last slice
    """

    def __init__(self, topology: Topology, threads: int, crews: int) -> None:
        """crews: see `SimulatedMachine`."""
        nodes, count = topology.nodes, len(topology.nodes)
        self._topology, self._threads = topology, threads
        self._read_ns = np.array([node.latency_ns for node in nodes])
        self._idle_ns = self._read_ns.copy()
        self._write_ns = np.array([node.write_latency_ns or node.latency_ns for node in nodes])
        self._peak = np.array([node.bandwidth_gb_s for node in nodes]) / LINE_BYTES  # lines/ns
        self._curves = stack_curves([load_curve(node.curve_name) for node in nodes])
        self._scratch = np.zeros((count, 2, self._curves[1].shape[1]))
        self._remote_ns = np.array(
            [[node.remote_ns.get(str(initiator), 0.0) for node in nodes] for initiator in range(count)]
        )
        rival = topology.antagonist
        self._rival_lines = np.zeros(count)
        self._rival_lines[rival.node] = rival.cores * rival.lines_in_flight_per_core / rival.read_share
        self._demand = tuple(np.zeros(count) for _ in range(3))
        self._busy, self._waits = np.zeros(crews), np.zeros((crews, count))
        self._busy_ns = 0.0
        self.served = np.zeros((count, count, 4))
        self.moving_bytes = np.zeros(count)
        self.copy_ns = np.zeros(count)
        self.latency_ns = self._read_ns.copy()
        self.used_share = np.zeros(count)

    def set_latency(self, node: int, latency_ns: float) -> None:
        """Set how long reads and writes of a node take in the slice that is about to be timed."""
        self._read_ns[node] = self._write_ns[node] = latency_ns

    def slowdown(self) -> F64:
        """float64[nodes]: loaded over idle latency in the last slice."""
        ratio: F64 = self.latency_ns / self._idle_ns
        return ratio

    def clear(self) -> None:
        """Begin a slice in which nothing is moved yet."""
        self.moving_bytes[:] = 0.0
        self.copy_ns[:] = 0.0

    def slice_ns(self, busy_ns: float) -> float:
        """How long the slice takes whose misses are in `served`.

        busy_ns  time in which each thread computes, tracks and moves
        """
        self._busy_ns = busy_ns
        return self._solve()

    def _solve(self) -> float:
        idle_ns, lines, reads = self._demand
        demand_of_misses(
            self.served, self._remote_ns, self._read_ns, self._write_ns, self.moving_bytes,
            self.copy_ns / self._idle_ns, self._topology.costs.mlp_sequential,
            max(1, self._threads // len(self._busy)), self._busy_ns, self._busy, self._waits, idle_ns, lines, reads,
        )  # fmt: skip
        duration_ns = float(
            solve_slice_ns(
                self._busy, self._waits, lines, reads, idle_ns, self._peak,
                self._rival_lines, self._topology.antagonist.read_share, *self._curves,
                self._scratch, self.latency_ns,
            )
        )  # fmt: skip
        served_lines = lines / max(duration_ns, 1e-9) + self._rival_lines / self.latency_ns
        self.used_share = served_lines / self._peak
        return duration_ns

    def marginal_ns(self) -> F64:
        """float64[nodes]: how much longer the last slice would have taken for one more latency waited for on each node.

        A latency waited for comes with as many misses as it did on average. It can cost more than itself: where a node
        is busy, all others wait longer too.
        """
        served, latency_ns, used_share = self.served.copy(), self.latency_ns.copy(), self.used_share
        misses, waits = float(served[:, :, :2].sum()), float(served[:, :, 3].sum())
        if misses == 0.0 or waits == 0.0:
            return latency_ns / self._threads
        more = np.zeros_like(served)
        initiator = int(served[:, :, 0].sum(axis=1).argmax())
        price_ns = np.empty(len(latency_ns))
        base_ns = self._solve()
        for node in range(len(latency_ns)):
            more[:] = 0.0
            more[initiator, node, 0], more[initiator, node, 3] = _LITTLE * misses, _LITTLE * waits
            np.add(served, more, out=self.served)
            price_ns[node] = (self._solve() - base_ns) / (_LITTLE * waits)
        self.served[:], self.latency_ns[:], self.used_share = served, latency_ns, used_share
        return price_ns
