"""drmemtrace, ChampSim and damo's records: whole and with bytes changed."""

from __future__ import annotations

import json
import random
import zlib
from pathlib import Path

from builders.damage import damaged_bytes
from builders.foreign import champsim, damo_records, drmemtrace
from fuzz.access_text import Made, check

NAME = "instruction-traces"

__all__ = ["NAME", "check", "make"]


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
