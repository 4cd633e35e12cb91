"""Traces of libCacheSim: oracleGeneral, vscsi and CSV, whole and with bytes changed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from builders.damage import damaged_bytes, odd_number
from builders.foreign import imported, oracle_general, vscsi
from fuzz.harness import Silent

NAME = "cache-traces"


@dataclass(frozen=True, slots=True)
class Made:
    """requests: how many are in the file; None: it was damaged, and nobody knows"""

    path: Path
    requests: int | None


def make(rng: random.Random, folder: Path) -> Made:
    count = rng.randint(1, 60)
    whole = rng.random() < 0.2
    match rng.randrange(4):
        case 0:
            content = oracle_general([(i, rng.randrange(1 << 64), 1 + i, -1) for i in range(count)])
            path = folder / "a.oracleGeneral.bin"
        case 1 | 2 as version:
            content = vscsi(version, [(i, 0x28, rng.randrange(1 << 40) * 8, 512) for i in range(count)])
            path = folder / "disk"
        case _:
            lines = [f"{i},{rng.randrange(1 << 40)},{rng.choice('rw')}" for i in range(count)]
            if not whole:
                lines[rng.randrange(count)] = f"{odd_number(rng)},{odd_number(rng)},x"
            content = "\n".join(["time,obj_id,op", *lines]).encode()
            path = folder / "a.csv"
    path.write_bytes(content if whole else damaged_bytes(rng, content))
    return Made(path, count if whole else None)


def check(made: Made) -> str:
    """Import it. What was not damaged has every request; what is accepted is read to its end."""
    recording = imported(made.path)
    if made.requests is not None and recording.total_touches != made.requests:
        raise Silent(f"{recording.total_touches} accesses of {made.requests}")
    touches = sum(int(batch.touches.sum()) for batch in recording.batches())
    if touches != recording.total_touches:
        raise Silent("the rows do not add up to the totals")
    return "accepted" if made.requests is not None else "unverified"
