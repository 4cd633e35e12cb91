"""Files that describe machines: tiers, devices that compress, latency curves.

Each number that is accepted is the one in the file. Of some tiers a recording is replayed, which must come to an end.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from builders.recordings import INFO, random_trace
from builders.toml_kind import damaged_file, parsed, refusals_name, same_numbers
from fuzz.harness import Silent
from pghot.documents import Shipped, shipped_names, shipped_text
from pghot.lab.compare import compare
from pghot.lab.cost import memory_cost
from pghot.recording.trace import MemoryTrace
from pghot.sim.compressed.device import DEVICES
from pghot.sim.machine.curves import CURVES, load_curve
from pghot.sim.machine.topology import TOPOLOGIES, Topology, load_topology

NAME = "toml_tiers"
QUICK = 60
PRICES = """
[price]
currency = "USD"
source = "an offer"
date = 2026-11-03
per_gib = { dram = 10.5, cxl = 4 }
"""

_SHIPPED: dict[str, Shipped] = {"tiers": TOPOLOGIES, "devices": DEVICES, "curves": CURVES}


@dataclass(frozen=True, slots=True)
class Made:
    """A damaged file of one of the folders of `_SHIPPED`; `played`: a recording is replayed on what it says."""

    path: Path
    folder: str
    played: bool


@cache
def texts(folder: str) -> tuple[str, ...]:
    """The shipped files, and one of the tiers with prices, which none of them has."""
    shipped = tuple(shipped_text(folder, name) for name in shipped_names(folder))
    return (*shipped, shipped_text("tiers", "dram-cxl") + PRICES) if folder == "tiers" else shipped


@cache
def trace() -> MemoryTrace:
    """A little of everything; what the replay needs is loaded once, before the children are made."""
    made = random_trace(parts=2, slices=6, rows=40, info=INFO)
    play(made, load_topology("dram-cxl"))
    return made


def play(trace: MemoryTrace, topology: Topology) -> None:
    """Replay it with hint faults and with A-bit scans."""
    settings = {"seeds": 1, "duration_s": 1.0, "fast_share": None, "times": 1.0}
    compare(trace, topology, ["numab2", "hemem"], **settings)


trace()


def make(rng: random.Random, folder: Path) -> Made:
    """A damaged file."""
    kind = rng.choice(("tiers", "tiers", "tiers", "devices", "curves"))
    return Made(damaged_file(rng, folder, texts(kind)), kind, rng.randrange(8) == 0)


def check(made: Made) -> str:
    """Read it, compare it with the file, and use it."""
    with refusals_name(str(made.path)):
        found = _SHIPPED[made.folder].load(made.path)
    same_numbers(parsed(made.path), found.model_dump())
    if made.folder == "curves":
        curve = load_curve(str(made.path))
        if not all(
            column.min() >= 0 and column.max() < 1e12 for column in (curve.share, curve.load, curve.growth)
        ):
            raise Silent("a curve with loads that are none")
    if isinstance(found, Topology):
        use(found)
        if made.played:
            play(trace(), found)
    return "accepted"


def use(topology: Topology) -> None:
    """What `pghot list` and every replay ask of tiers first."""
    topology.distance_matrix()
    topology.ranks()
    for line in topology.warnings():
        if "\n" in line:
            raise Silent(f"a warning of two lines: {line!r}")
    for share in (0.01, 0.5, 1.0):
        cost = memory_cost(topology, 1 << 40, share)
        if cost is not None and not 0 <= cost < 1e12:
            raise Silent(f"memory costs {cost}")
