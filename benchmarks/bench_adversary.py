"""How many steps does the adversary's engine play in a second, and do safe rules hold over ten million of an attack?

python benchmarks/bench_adversary.py
"""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np

from pghot.rules import RULES
from pghot.safety.adversary.attacks import Strategy, build
from pghot.safety.adversary.scene import Scene, scaled
from pghot.safety.adversary.search import run_named, soak
from pghot.safety.adversary.state import LIFO, new_state
from pghot.safety.adversary.steps import FLUSH, READ, STORE_RAW, STORE_ZERO, play
from pghot.safety.margin import Host
from pghot.sim.compressed.device import load_device

STEPS = 10_000_000
GIB = 1 << 30
SAFE = ("ro-cow", "promote-on-write", "contained")


def scene(rule: str, reserve: int = 0) -> Scene:
    host = Host(pinned=GIB, kill_us=1000)
    return scaled(Scene(load_device("ocp-4k"), host, 256 * GIB, 512 * GIB, RULES[rule], reserve), 8192)


def steps_a_second() -> float:
    """Stores, flushes and reads of tenants on a full device, in a second; demotions (64 line writes each) left out."""
    filled = scene("writable")
    state = new_state(filled, LIFO)
    play(state, build(filled, Strategy(decoys=0.5)))
    rng = np.random.default_rng(0)
    trace = np.empty((STEPS, 3), np.int32)
    trace[:, 0] = rng.choice([STORE_ZERO, STORE_RAW, FLUSH, READ], STEPS)
    trace[:, 1], trace[:, 2] = rng.integers(0, filled.pages, STEPS), rng.integers(0, 64, STEPS)
    start = time.perf_counter()
    play(state, trace)
    return STEPS / (time.perf_counter() - start)


def run() -> dict[str, Any]:
    run_named(scene("ro-cow"), ["streaming-writes"])  # compiles
    rate = steps_a_second() / 1e6
    found: dict[str, Any] = {
        "adversary_steps": {"value": round(rate, 2), "bar": 2.0, "ok": rate >= 2.0, "unit": "M steps/s"}
    }
    for rule in SAFE:
        start = time.perf_counter()
        safe = scene(rule)
        campaign = soak(safe.with_reserve(int(safe.needed())), STEPS)
        lost = sum(outcome.lost_writes for outcome in campaign.outcomes)
        found[f"adversary_{rule}_lost"] = {
            "value": lost, "bar": 0, "ok": lost == 0, "unit": "writes",
            "steps": campaign.steps, "seconds": round(time.perf_counter() - start, 1),
        }  # fmt: skip
    lost = run_named(scene("writable", 16 * GIB), ["streaming-writes"]).worst.lost_writes
    found["adversary_writable_lost"] = {"value": lost, "bar": 1, "ok": lost >= 1, "unit": "writes"}
    return found


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
