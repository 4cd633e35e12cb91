"""Recordings that hold too little, through `compare`: nothing crashes, and the verdict says what is missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import pghot
from builders.accesses import trace_from_accesses
from pghot.arrays import Bool
from pghot.recording.trace import MemoryTrace

PAGE = (np.random.default_rng(0).zipf(1.3, 60_000) % 2_000).astype(np.uint32)


def trace(slices: int = 60, miss: Bool | None = None) -> MemoryTrace:
    return trace_from_accesses(PAGE, accesses_per_slice=len(PAGE) // slices, miss=miss)


def empty() -> MemoryTrace:
    """50 slices in which nothing was touched."""
    whole = trace(50)
    (batch,) = whole.parts
    rows = ("page", "touches", "misses", "sequential", "writes", "node")
    none = {name: getattr(batch, name)[:0] for name in rows}
    whole.parts = [replace(batch, offsets=np.zeros(51, np.int64), **none)]
    return whole


def in_the_cache() -> MemoryTrace:
    whole = trace()
    whole.info = replace(whole.info, llc_bytes=1 << 30, llc_ways=16)
    return whole


@pytest.mark.parametrize(
    ("recording", "reason"),
    [
        (trace(1), "the recording has only 1 slice"),
        (empty(), "no access missed the recorded cache"),
        (trace(miss=np.zeros(60_000, np.bool_)), "no access missed the recorded cache"),
        (trace(miss=np.arange(60_000) % 600 == 0), "the recording has 100 cache misses for"),
        (trace(miss=np.arange(60_000) < 12_000), "no access missed the cache after the warm-up"),
        (in_the_cache(), "fits in the recorded cache of 1.0 GiB"),
    ],
    ids=["one slice", "empty slices", "no misses", "few misses", "only in the warm-up", "in the cache"],
)
def test_too_little_is_said(recording: MemoryTrace, reason: str) -> None:
    """Played once, so that what was missed in the warm-up is not missed again."""
    result = pghot.compare(recording, policies=["numab2"], seeds=1, duration_s=None, epoch_slices=6)
    assert result.verdict.outcome == "cannot tell"
    kernel = result.verdict.classes[0]
    assert kernel.unknown is not None
    assert reason in kernel.unknown.reason
    assert kernel.unknown.would_tell


def test_the_same_recording_with_enough_in_it_is_judged() -> None:
    result = pghot.compare(trace(), policies=["numab2", "oracle-epoch"], seeds=1, duration_s=None)
    assert (
        result.verdict.classes[0].unknown is None or "stood still" in result.verdict.classes[0].unknown.reason
    )
