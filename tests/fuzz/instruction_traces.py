"""drmemtrace, ChampSim and damo's records: whole and with bytes changed."""

from __future__ import annotations

import json
import random
import zlib
from dataclasses import dataclass
from pathlib import Path

from builders.damage import damaged_bytes
from builders.foreign import champsim, damo_records, drmemtrace, imported
from fuzz.harness import Silent

NAME = "instruction-traces"


@dataclass(frozen=True, slots=True)
class Made:
    """accesses: how many are in the file; None: it was damaged, and nobody knows"""

    path: Path
    accesses: int | None


def make(rng: random.Random, folder: Path) -> Made:
    count = rng.randint(1, 60)
    addresses = [rng.randrange(1, 1 << rng.choice((13, 32, 47))) for _ in range(count)]
    whole = rng.random() < 0.2
    match rng.randrange(4):
        case 0:
            entries = [each for address in addresses for each in ((10, 4, 5), (rng.randrange(2), 8, address))]
            content = drmemtrace(entries)
        case 1:
            content = champsim([(0x400000 + i, [], [address]) for i, address in enumerate(addresses)])
        case packed:
            regions = [(address >> 12 << 12, (address >> 12) + 1 << 12, 1) for address in addresses]
            content = json.dumps(damo_records([[(10**9, regions)]]), indent=rng.choice((None, 4))).encode()
            if packed == 3:
                content = content if whole else damaged_bytes(rng, content)
                content = zlib.compress(content)
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
