"""perf.data, as a file and through a pipe: whole and with bytes changed."""

from __future__ import annotations

import random
from pathlib import Path

from builders import perf_data as pd
from builders.damage import damaged_bytes
from fuzz.access_text import Made, check

NAME = "perf-data"

__all__ = ["NAME", "check", "make"]


def make(rng: random.Random, folder: Path) -> Made:
    count = rng.randint(1, 60)
    addresses = [rng.randrange(1, 1 << rng.choice((13, 32, 47))) for _ in range(count)]
    if rng.random() < 0.3:
        events = [(pd.attr(pd.TID | pd.TIME | pd.RAW, kind=2, config=777, period=1), [1])]
        pages = [address >> 12 << 12 for address in addresses]
        records = [pd.region(i, 1, page, page + 4096, 1) for i, page in enumerate(pages)]
        content = pd.perf_data(events, records, pd.DAMON_FORMAT)
    else:
        sources = (pd.LOAD_L1, pd.LOAD_RAM, pd.STORE_RAM)
        records = [pd.memory(i, address, rng.choice(sources)) for i, address in enumerate(addresses)]
        records.insert(rng.randrange(count), pd.record(68))
        content = rng.choice((pd.perf_data, pd.piped))([(pd.attr(), [1, 2])], records)
    whole = rng.random() < 0.2
    path = folder / "perf.data"
    path.write_bytes(content if whole else damaged_bytes(rng, content))
    return Made(path, count if whole else None)
