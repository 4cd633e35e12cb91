"""How long a slice takes: loaded latency in a closed loop.

A program's misses keep `threads * mlp` lines in flight. The time they take depends on each node's latency, the latency
depends on the bandwidth in use, and the bandwidth depends on the time. `solve_slice_ns` finds the one time that
satisfies all of this (docs/architecture.md: slowdown comes out of the model).
"""

from __future__ import annotations

from numba import njit

from pghot.arrays import F64

_STEPS = 48  # halvings: 2**-48 of the bracket, below the float noise of the sums


@njit(cache=True)
def loaded_latency_ns(idle_ns: float, utilisation: float, a: float, b: float) -> float:
    """Latency at `utilisation` of the bandwidth: L0 * (1 + a * (u / (1 - u)) ** b) (FACTS 8)."""
    u = min(max(utilisation, 0.0), 1.0 - 1e-9)
    return float(idle_ns * (1.0 + a * (u / (1.0 - u)) ** b))


@njit(cache=True)
def node_latency_ns(
    idle_ns: float, bandwidth: float, rate: float, rival_lines: float, a: float, b: float
) -> float:
    """Loaded latency of a node that serves `rate` bytes/ns and a rival with `rival_lines` lines in flight.

    `bandwidth` is in bytes/ns (= GB/s). The rival is a closed loop as well: it moves 64 * rival_lines / latency
    bytes/ns, so a slower node also slows the rival.
    """
    if rival_lines <= 0.0:
        return loaded_latency_ns(idle_ns, rate / bandwidth, a, b)
    low, high = idle_ns, idle_ns * 1e4
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        used = (rate + 64.0 * rival_lines / middle) / bandwidth
        if used < 1.0 and loaded_latency_ns(idle_ns, used, a, b) <= middle:
            high = middle
        else:
            low = middle
    return 0.5 * (low + high)


@njit(cache=True)
def solve_slice_ns(
    busy_ns: float,
    inflight: F64,
    idle_ns: F64,
    remote_ns: F64,
    bytes_moved: F64,
    bandwidth: F64,
    rival_lines: F64,
    a: float,
    b: float,
    latency_ns: F64,
) -> float:
    """Duration of a slice, ns; fills `latency_ns[node]` with the loaded latencies.

    busy_ns      time the threads are busy without waiting for memory (compute and overheads, per thread)
    inflight     float64[N]  misses of each node divided by the lines kept in flight by all threads
    idle_ns      float64[N]  idle latency for this slice's mix of reads and writes
    remote_ns    float64[N]  extra latency of remote CPUs, summed over the misses and divided like `inflight`
    bytes_moved  float64[N]  bytes read, written and migrated on each node
    bandwidth    float64[N]  bytes/ns
    rival_lines  float64[N]  lines that background load keeps in flight
    """
    nodes = len(inflight)
    low = busy_ns
    for node in range(nodes):
        low = max(low, bytes_moved[node] / bandwidth[node])
    high = max(low, 1.0)
    for _ in range(64):
        if (
            busy_ns
            + _stall_ns(
                high, inflight, idle_ns, remote_ns, bytes_moved, bandwidth, rival_lines, a, b, latency_ns
            )
            <= high
        ):
            break
        low = high
        high *= 2.0
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        if (
            busy_ns
            + _stall_ns(
                middle, inflight, idle_ns, remote_ns, bytes_moved, bandwidth, rival_lines, a, b, latency_ns
            )
            <= middle
        ):
            high = middle
        else:
            low = middle
        if high - low <= 1e-9 * high:
            break
    return high


@njit(cache=True)
def _stall_ns(
    duration: float,
    inflight: F64,
    idle_ns: F64,
    remote_ns: F64,
    bytes_moved: F64,
    bandwidth: F64,
    rival_lines: F64,
    a: float,
    b: float,
    latency_ns: F64,
) -> float:
    total = 0.0
    for node in range(len(inflight)):
        latency = node_latency_ns(
            idle_ns[node], bandwidth[node], bytes_moved[node] / duration, rival_lines[node], a, b
        )
        latency_ns[node] = latency
        total += inflight[node] * latency + remote_ns[node]
    return total


@njit(cache=True)
def demand_of_misses(
    served: F64,
    remote_ns: F64,
    read_ns: F64,
    write_ns: F64,
    moving_bytes: F64,
    mlp: float,
    mlp_sequential: float,
    threads: int,
    writeback: float,
    inflight: F64,
    idle_ns: F64,
    waiting_ns: F64,
    bytes_moved: F64,
) -> None:
    """Turn the misses that each node served into the arguments of `solve_slice_ns`; fills the last four arrays.

    served        float64[initiators, nodes, 3]  random, sequential, dirty misses (`machine.touch.serve`)
    remote_ns     float64[initiators, nodes]     extra latency of a remote CPU
    moving_bytes  float64[nodes]                 migration traffic
    """
    for node in range(len(read_ns)):
        lines, dirty, overlapped, waiting = 0.0, 0.0, 0.0, 0.0
        for initiator in range(served.shape[0]):
            random, sequential = served[initiator, node, 0], served[initiator, node, 1]
            share = (random / mlp + sequential / mlp_sequential) / threads
            lines += random + sequential
            dirty += served[initiator, node, 2]
            overlapped += share
            waiting += share * remote_ns[initiator, node]
        inflight[node] = overlapped
        waiting_ns[node] = waiting
        dirty_share = dirty / lines if lines > 0.0 else 0.0
        idle_ns[node] = read_ns[node] + dirty_share * (write_ns[node] - read_ns[node])
        bytes_moved[node] = 64.0 * (lines + writeback * dirty) + moving_bytes[node]
