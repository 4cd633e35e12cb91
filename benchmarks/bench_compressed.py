"""How much slower does the lab run when a node compresses? The same trace, policy and shares, with and without.

Pairs of runs over the bundled recordings, kernels compiled; the value is the worst recording's median share of the
speed without. Runs in which a tenant was killed have less to replay and are not compared, but named.
"""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median
from typing import Any

from pghot.lab.bench import Bench
from pghot.lab.compare import DEVICE_MOVER
from pghot.lab.setting import Setting
from pghot.lab.traces import load_trace
from pghot.sim.machine.topology import load_topology

RECORDINGS = (
    "bfs-kron", "duckdb-mix", "fasttext-zipf", "redis-zipf", "sqlite-mix", "stockfish-bench", "xz-decompress"
)  # fmt: skip
RULES = ("writable", "ro-cow", "promote-on-write")
REPEATS = 3
BAR = 0.5


def seconds(name: str, tiers: str, access: str | None) -> tuple[float, int]:
    """CPU seconds of one replay, and how many tenants were killed; the trace is opened and measured before."""
    bench = Bench(load_trace(f"bundled:{name}"), load_topology(tiers), Setting(), seed=0)
    start = time.process_time()
    (row,) = bench.play([replace(DEVICE_MOVER, access=access)], lambda part: None)
    return time.process_time() - start, int(row.figures.killed_tenants or 0)


def share_of(name: str, rule: str) -> float | None:
    """Speed with the rule over that of the same promotion without compression; None when a tenant was killed."""
    shares = []
    for number in range(REPEATS + 1):
        without, _ = seconds(name, "dram-cxl", None)
        with_rule, killed = seconds(name, "dram-cxl-compressed", rule)
        if killed:
            return None
        if number:  # the first compiles
            shares.append(without / with_rule)
    return median(shares)


def run() -> dict[str, Any]:
    shares = {(name, rule): share_of(name, rule) for name in RECORDINGS for rule in RULES}
    found = {pair: share for pair, share in shares.items() if share is not None}
    worst = min(found, key=lambda pair: found[pair])
    return {
        "compressed_share_of_plain_speed": {
            "value": found[worst],
            "bar": BAR,
            "ok": found[worst] >= BAR,
            "unit": "of the speed without compression, worst recording and rule",
            "worst": "/".join(worst),
            "each": {"/".join(pair): round(share, 3) for pair, share in found.items()},
            "killed": ["/".join(pair) for pair in shares if pair not in found],
        }
    }
