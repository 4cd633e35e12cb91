"""How long a slice takes: loaded latency in a closed loop.

The time that a program's misses take depends on each node's latency, the latency depends on the lines in flight to the
node, and these depend on the time. `solve_slice_ns` finds the time that satisfies all of this (docs/model.md, section
3). It solves for the load that the program offers, not for the bandwidth that it gets: a saturated device has many
latencies for one bandwidth, but only one for each number of lines in flight.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import F64, I64
from pghot.jit import njit
from pghot.units import LINE_BYTES

LINE = float(LINE_BYTES)
_STEPS = 60  # at most so many evaluations; a dozen are usual
_EXACT = 1e-10  # relative error of the answer
_RIVAL_ROUNDS = 3  # the share of reads depends on how much of the traffic is the rival's; this settles it


@njit(cache=True)
def demand_of_misses(
    served: F64,
    remote_ns: F64,
    read_ns: F64,
    write_ns: F64,
    moving_bytes: F64,
    copy_waits: F64,
    mlp_sequential: float,
    threads: int,
    busy_ns: float,
    busy: F64,
    waits: F64,
    idle_ns: F64,
    lines: F64,
    reads: F64,
) -> None:
    """Turn the misses that each node served into the arguments of `solve_slice_ns`; fills the last five arrays.

    served        float64[initiators, nodes, 4]  random, sequential, dirty misses, waits (`machine.touch.serve`)
    remote_ns     float64[initiators, nodes]     extra latency of a remote CPU
    moving_bytes  float64[nodes]                 migration traffic, taken as half reads and half writes
    copy_waits    float64[nodes]                 latencies that all threads together wait for when they copy pages
    threads       in each crew
    busy_ns       of each thread, without what it waits for

    The threads are one crew (busy float64[1], waits float64[1, nodes]), or those of each node are one of their own,
    which do that node's accesses (float64[initiators], float64[initiators, nodes]). The way to remote nodes takes a
    fixed time, which counts as busy. A dirtied line is written back once.
    """
    crews = len(busy)
    # Element by element: for whole arrays Numba compiles what says that their shapes differ, in 2.6 s.
    for crew in range(crews):
        busy[crew] = busy_ns
        for node in range(len(read_ns)):
            waits[crew, node] = copy_waits[node] / (threads * crews)
    for node in range(len(read_ns)):
        missed, dirty = 0.0, 0.0
        for initiator in range(served.shape[0]):
            sequential = served[initiator, node, 1]
            missed += served[initiator, node, 0] + sequential
            dirty += served[initiator, node, 2]
            share = (served[initiator, node, 3] + sequential / mlp_sequential) / threads
            crew = min(initiator, crews - 1)
            waits[crew, node] += share
            busy[crew] += share * remote_ns[initiator, node]
        moving = moving_bytes[node] / LINE
        idle_ns[node] = read_ns[node]
        if missed > 0.0:
            idle_ns[node] += dirty / missed * (write_ns[node] - read_ns[node])
        lines[node] = missed + dirty + moving
        reads[node] = (missed + 0.5 * moving) / lines[node] if lines[node] > 0.0 else 1.0


@njit(cache=True)
def blend_curve(
    share: F64, load: F64, growth: F64, reads: float, idle_ns: float, peak: float, out: F64
) -> None:
    """The curve of one node for one share of reads, in lines and ns.

    share, load, growth  a node's curve (`machine.curves.Curve`)
    reads                share of reads in the traffic
    idle_ns, peak        idle latency; peak bandwidth, lines/ns
    out                  float64[2, K] set: lines in flight; latency, ns

    A single line in flight does not wait for itself: up to there, latency is idle.
    """
    row = 0
    while row < len(share) - 2 and share[row + 1] < reads:
        row += 1
    weight = 0.0
    if len(share) > 1 and share[row + 1] > share[row]:
        weight = min(max((reads - share[row]) / (share[row + 1] - share[row]), 0.0), 1.0)
    above = min(row + 1, len(share) - 1)
    lines_per_load = idle_ns * peak
    for k in range(len(load)):
        out[0, k] = load[k] * lines_per_load
        out[1, k] = idle_ns * (growth[row, k] + weight * (growth[above, k] - growth[row, k]))
    out[0, 0] = min(1.0, 0.5 * out[0, 1])


@njit(cache=True)
def last_rising(curve: F64, rival_lines: float) -> int:
    """The point of a blended curve at which the program's throughput, beside a rival's lines, is highest."""
    best, where = 0.0, 0
    for k in range(curve.shape[1]):
        rate = (curve[0, k] - rival_lines) / curve[1, k]
        if rate > best:
            best, where = rate, k
    return where


@njit(cache=True)
def latency_at_rate(curve: F64, rate: float, rival_lines: float, top: int) -> float:
    """Latency of a node, ns, that serves the program `rate` lines/ns beside a rival, on the stable branch.

    curve  a blended curve; top is its `last_rising` point. `rate` is at most the throughput there.
    """
    if (curve[0, 0] - rival_lines) / curve[1, 0] >= rate:
        return float(curve[1, 0])
    low, high = 0, top
    while high - low > 1:
        middle = (low + high) // 2
        if curve[0, middle] - rival_lines >= rate * curve[1, middle]:
            high = middle
        else:
            low = middle
    if high == low:
        return float(curve[1, high])
    lines, latency = curve[0, high] - curve[0, low], curve[1, high] - curve[1, low]
    part = (rate * curve[1, low] - curve[0, low] + rival_lines) / (lines - rate * latency)
    return float(curve[1, low] + min(max(part, 0.0), 1.0) * latency)


@njit(cache=True)
def latency_at_lines(curve: F64, lines: float) -> float:
    """Latency of a node, ns, with so many lines in flight. Past the last point throughput stays as it is there."""
    last = curve.shape[1] - 1
    if lines >= curve[0, last]:
        return float(curve[1, last] * lines / curve[0, last])
    if lines <= curve[0, 0]:
        return float(curve[1, 0])
    low, high = 0, last
    while high - low > 1:
        middle = (low + high) // 2
        if curve[0, middle] >= lines:
            high = middle
        else:
            low = middle
    part = (lines - curve[0, low]) / (curve[0, high] - curve[0, low])
    return float(curve[1, low] + part * (curve[1, high] - curve[1, low]))


@njit(cache=True)
def solve_slice_ns(
    busy: F64,
    waits: F64,
    lines: F64,
    reads: F64,
    idle_ns: F64,
    peak: F64,
    rival_lines: F64,
    rival_reads: float,
    share: F64,
    load: F64,
    growth: F64,
    scratch: F64,
    latency_ns: F64,
) -> float:
    """Duration of a slice, ns; fills `latency_ns[node]` with the loaded latencies.

    busy         float64[C]  time that a thread is busy without waiting for loaded memory (compute and overheads)
    waits        float64[C, N]  latencies of each node that it waits for: misses over the lines it keeps in flight
    lines        float64[N]  lines read, written and migrated on each node
    reads        float64[N]  share of reads in these
    idle_ns      float64[N]  idle latency for this slice's mix of reads and writes
    peak         float64[N]  lines/ns
    rival_lines  float64[N]  lines, read and written, that background load keeps in flight
    rival_reads  share of reads in these
    share, load, growth      the nodes' curves (`machine.curves.stack_curves`)
    scratch      float64[N, 2, K]

    The threads of a crew share their work; the slice ends when the slowest of the C crews has done its own.
    """
    nodes = len(lines)
    duration = 0.0
    for round_ in range(_RIVAL_ROUNDS):
        settled = True
        for node in range(nodes):
            mix = reads[node]
            if rival_lines[node] > 0.0 and lines[node] == 0.0:
                mix = rival_reads
            elif rival_lines[node] > 0.0 and mix != rival_reads:
                settled = False
                if round_:
                    own = lines[node] / duration
                    other = rival_lines[node] / latency_ns[node]
                    mix = (own * mix + other * rival_reads) / (own + other)
            blend_curve(share[node], load[node], growth[node], mix, idle_ns[node], peak[node], scratch[node])
        duration = _solve(busy, waits, lines, rival_lines, scratch, latency_ns)
        if settled:
            break
    return duration


@njit(cache=True)
def _solve(busy: F64, waits: F64, lines: F64, rival_lines: F64, curve: F64, latency_ns: F64) -> float:
    """The loop on blended curves.

    One slice in D ns is a rate r = 1 / D. Each node then serves r * lines, which gives its latency, and the loop closes
    when r * (busy + sum of waits * latency) = 1 for the slowest crew. The unknown is the number of lines in flight to
    the narrowest node, the one that saturates first: it gives r on both sides of that node's peak, and all other nodes
    are below theirs.
    """
    nodes = len(lines)
    tops = np.zeros(nodes, np.int64)
    fastest, narrow = 0.0, nodes
    for node in range(nodes):
        latency_ns[node] = latency_at_lines(curve[node], rival_lines[node])
        if lines[node] <= 0.0:
            continue
        top = tops[node] = last_rising(curve[node], rival_lines[node])
        rate = (curve[node, 0, top] - rival_lines[node]) / curve[node, 1, top] / lines[node]
        if narrow == nodes or rate < fastest:
            fastest, narrow = rate, node
    if narrow == nodes:
        return _largest(busy)
    peak_lines = curve[narrow, 0, tops[narrow]]
    low, below = rival_lines[narrow], -1.0
    high = peak_lines
    above = _error(high, busy, waits, lines, rival_lines, curve, tops, narrow, latency_ns)
    if above < 0.0:
        most = _largest(waits.T[narrow])
        if most <= 0.0:  # nobody waits for what saturates it: migration takes the whole node
            return 1.0 / fastest
        # All lines in flight to the saturated node are waited for: there cannot be more than this.
        low, below = high, above
        high = rival_lines[narrow] + lines[narrow] / most
        above = _error(high, busy, waits, lines, rival_lines, curve, tops, narrow, latency_ns)
    side = 0
    for _ in range(_STEPS):  # Illinois method
        if abs(above) <= _EXACT or high - low <= _EXACT * high:
            break
        middle = high - above * (high - low) / (above - below)
        error = _error(middle, busy, waits, lines, rival_lines, curve, tops, narrow, latency_ns)
        if abs(error) <= _EXACT:
            break
        if error < 0.0:
            low, below = middle, error
            if side < 0:
                above *= 0.5
            side = -1
        else:
            high, above = middle, error
            if side > 0:
                below *= 0.5
            side = 1
    return _slowest(busy, waits, latency_ns)


@njit(cache=True)
def _largest(values: F64) -> float:
    """The largest of values that are not negative. Numba takes three times as long to compile its own."""
    largest = 0.0
    for value in values:
        largest = max(largest, value)
    return largest


@njit(cache=True)
def _slowest(busy: F64, waits: F64, latency_ns: F64) -> float:
    """How long the slowest crew takes at these latencies, ns."""
    slowest = 0.0
    for crew in range(len(busy)):
        time = busy[crew]
        for node in range(len(latency_ns)):
            time += waits[crew, node] * latency_ns[node]
        slowest = max(slowest, time)
    return slowest


@njit(cache=True)
def _error(
    in_flight: float,
    busy: F64,
    waits: F64,
    lines: F64,
    rival_lines: F64,
    curve: F64,
    tops: I64,
    narrow: int,
    latency_ns: F64,
) -> float:
    """r * (time of the slowest crew) - 1 with so many lines in flight to node `narrow`; sets the latencies."""
    latency_ns[narrow] = latency_at_lines(curve[narrow], in_flight)
    rate = (in_flight - rival_lines[narrow]) / latency_ns[narrow] / lines[narrow]
    for node in range(len(lines)):
        if node != narrow and lines[node] > 0.0:
            latency_ns[node] = latency_at_rate(curve[node], rate * lines[node], rival_lines[node], tops[node])
    return float(rate * _slowest(busy, waits, latency_ns) - 1.0)
