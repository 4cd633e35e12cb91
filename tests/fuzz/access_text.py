"""Traces of accesses as text: lackey, lines of addresses, `perf script`, Ramulator; whole and with bytes changed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from builders.damage import damaged_bytes
from builders.foreign import imported
from fuzz.harness import Silent

NAME = "access-text"


@dataclass(frozen=True, slots=True)
class Made:
    """accesses: how many are in the file; None: it was damaged, and nobody knows"""

    path: Path
    accesses: int | None


def make(rng: random.Random, folder: Path) -> Made:
    count = rng.randint(1, 80)
    addresses = [rng.randrange(1 << rng.choice((12, 32, 47, 64))) for _ in range(count)]
    match rng.randrange(4):
        case 0:
            lines = [f"{rng.choice((' L', ' S'))} {address:08x},8" for address in addresses]
            lines = ["==7== Lackey", *(each for line in lines for each in ("I  00400000,4", line))]
        case 1:
            lines = [f"{rng.choice(('l', 's', 'LD', 'ST'))} {address:#x}" for address in addresses]
        case 2:
            events = ("page-faults", "cpu/mem-loads/P", "dTLB-load-misses:u")
            addresses = [address or 1 for address in addresses]
            lines = [
                f"a b {rng.randrange(9)}/1 {number}.000001: {rng.choice(events)}: {address:x} 401000 f+0x1 (a)"
                for number, address in enumerate(addresses)
            ]
        case _:
            lines = [f"{rng.randrange(90)} {address >> 1}" for address in addresses]
    content = "".join(f"{line}\n" for line in lines).encode()
    whole = rng.random() < 0.2
    path = folder / "trace"
    path.write_bytes(content if whole else damaged_bytes(rng, content))
    return Made(path, count if whole else None)


def check(made: Made) -> str:
    """Import it. What was not damaged has every access; what is accepted is read to its end."""
    recording = imported(made.path)
    if made.accesses is not None and recording.total_touches != made.accesses:
        raise Silent(f"{recording.total_touches} accesses of {made.accesses}")
    if sum(int(batch.touches.sum()) for batch in recording.batches()) != recording.total_touches:
        raise Silent("the rows do not add up to the totals")
    return "accepted" if made.accesses is not None else "unverified"
