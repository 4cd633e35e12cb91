"""The peers that the benchmarks run beside us. libCacheSim is GPL: it lives in the benchmark environment
only."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import NamedTemporaryFile

import libcachesim
import numpy as np
import numpy.typing as npt

# One record of libCacheSim's binary trace format "oracleGeneral": 24 bytes, packed, little endian.
ORACLE_GENERAL = np.dtype([("time", "<u4"), ("id", "<u8"), ("bytes", "<u4"), ("next_access", "<i8")])


def zipf_pages(requests: int, pages: int, alpha: float = 1.2, seed: int = 0) -> npt.NDArray[np.uint32]:
    """A zipf(alpha) stream over `pages` pages, ranks dealt to pages at random."""
    rng = np.random.default_rng(seed)
    weight = np.cumsum(np.arange(1, pages + 1, dtype=np.float64) ** -alpha)
    ranks = np.searchsorted(weight, rng.random(requests) * weight[-1])
    return rng.permutation(pages).astype(np.uint32)[ranks]


def write_oracle_general(pages: npt.NDArray[np.uint32], path: Path) -> None:
    """The requests as an oracleGeneral file, objects of one byte each."""
    chunk = 1 << 20
    with path.open("wb") as file:
        for start in range(0, len(pages), chunk):
            part = pages[start : start + chunk]
            record = np.zeros(len(part), ORACLE_GENERAL)
            record["time"] = np.arange(start, start + len(part)) >> 10
            record["id"] = part
            record["bytes"] = 1
            record["next_access"] = -1
            record.tofile(file)


def _process(cache: libcachesim.CacheBase, path: Path, requests: int) -> tuple[int, float]:
    """Misses and CPU seconds of libCacheSim's own C loop over the file."""
    reader = libcachesim.TraceReader(
        str(path),
        libcachesim.TraceType.ORACLE_GENERAL_TRACE,
        libcachesim.ReaderInitParam(ignore_obj_size=True),
    )
    start = time.process_time()
    miss_ratio, _ = cache.process_trace(reader)
    seconds = time.process_time() - start
    return round(miss_ratio * requests), seconds


def libcachesim_run(
    kind: type[libcachesim.CacheBase], pages: npt.NDArray[np.uint32], capacity: int
) -> tuple[int, float]:
    """Misses of a libCacheSim cache of `capacity` pages on the requests, and the CPU seconds it took.

    The fastest way that its Python package offers: a binary file in its own format, mapped by its C reader
    and replayed by its C loop (one thread), timed from the opened reader to the last request. The hash table
    has four slots for each cached page, the fastest of the sizes tried (2**16 to 2**24); its default is 2**24
    slots.
    """
    with NamedTemporaryFile(suffix=".oracleGeneral") as file:
        path = Path(file.name)
        write_oracle_general(pages, path)
        cache = kind(cache_size=capacity, hashpower=int(np.ceil(np.log2(capacity))) + 2)
        return _process(cache, path, len(pages))


def libcachesim_lru(pages: npt.NDArray[np.uint32], capacity: int) -> tuple[int, float]:
    """(misses, CPU seconds) of libCacheSim's LRU."""
    return libcachesim_run(libcachesim.LRU, pages, capacity)


def libcachesim_clock(pages: npt.NDArray[np.uint32], capacity: int) -> tuple[int, float]:
    """(misses, CPU seconds) of libCacheSim's CLOCK with its default one-bit counter."""
    return libcachesim_run(libcachesim.Clock, pages, capacity)
