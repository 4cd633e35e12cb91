"""Traces for the tests of the recording format."""

from __future__ import annotations

import numpy as np

from pghot.recording.batches import concatenate
from pghot.recording.trace import MemoryTrace, Region, SliceBatch, Trace, TraceInfo

INFO = TraceInfo(
    name="demo",
    source="qemu",
    slice_ns=1_000_000,
    threads=2,
    llc_bytes=1 << 20,
    llc_ways=16,
    command=("redis-server", "--port", "0"),
    kernel="6.1",
    notes=("a note",),
)

REGIONS = (
    Region(0, 512, 0, 0x5555_5560_0000, "[heap]"),
    Region(512, 300, 0, 0x7F00_0000_0000, "/usr/lib/libc.so.6"),
    Region(1024, 512, 1, 0x7FFF_FFE0_0000, "[stack]"),
)

# For a trace that is replayed: its slices last 0.3 s on average.
REPLAYED = 1 << 30


def random_batch(
    slices: int = 7,
    rows: int = 23,
    pages: int = 1536,
    nodes: int = 1,
    threads: int = 1,
    caches: int = 1,
    seed: int = 0,
    largest: int = 1000,
    most_instructions: int = 1 << 40,
) -> SliceBatch:
    """`rows` rows in each slice but every fifth, which is empty; counters up to `largest`.

    A slice of 2^40 instructions lasts minutes: a replay cuts it into thousands. `REPLAYED` has some for which it does
    so a few times. Batches of one shape follow each other in time by their seeds. Thread t belongs to process t // 2.
    """
    rng = np.random.default_rng(seed)
    counts = np.where(np.arange(slices) % 5 == 4, 0, rows)
    keys = [np.sort(rng.choice(pages * nodes * threads, count, replace=False)) for count in counts]
    key = np.concatenate([np.empty(0, np.int64), *keys])
    thread = (key % threads).astype(np.uint16)
    key //= threads
    touches = rng.integers(1, largest, len(key), endpoint=True, dtype=np.uint32)
    misses = rng.integers(0, touches, (caches, len(key)), endpoint=True).astype(np.uint32)
    sequential = rng.integers(0, misses[0], endpoint=True).astype(np.uint32)
    strided = rng.integers(0, misses[0] - sequential, endpoint=True).astype(np.uint32)
    return SliceBatch(
        start_ns=np.arange(seed * slices, (seed + 1) * slices, dtype=np.uint64) * np.uint64(1_000_000),
        instructions=rng.integers(0, most_instructions, slices, dtype=np.uint64),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        page=(key // nodes).astype(np.uint32),
        touches=touches,
        misses=misses[0],
        sequential=sequential,
        writes=rng.integers(0, touches, endpoint=True).astype(np.uint32),
        node=(key % nodes).astype(np.int16),
        process=thread // np.uint16(2),
        thread=thread,
        strided=strided,
        dependent=rng.integers(0, misses[0] - sequential - strided, endpoint=True).astype(np.uint32),
        misses_by_cache=misses,
    )


def random_trace(parts: int = 1, info: TraceInfo = INFO, **shape: int) -> MemoryTrace:
    """A trace of `parts` equal-shaped batches over the pages of `REGIONS`."""
    return MemoryTrace(info, 1536, REGIONS, [random_batch(seed=seed, **shape) for seed in range(parts)])


def all_slices(trace: Trace) -> SliceBatch:
    """Every slice of the trace in one batch."""
    return concatenate(list(trace.batches()))


def assert_same_slices(a: SliceBatch, b: SliceBatch) -> None:
    """Equal in every array, and of the dtypes that `SliceBatch` promises."""
    for name in SliceBatch.__dataclass_fields__:
        left, right = getattr(a, name), getattr(b, name)
        assert left.dtype == right.dtype, name
        np.testing.assert_array_equal(left, right, err_msg=name)
