"""Recordings that hold too little, through `compare`: nothing crashes, and the verdict says what is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pghot
from builders.accesses import trace_from_accesses
from pghot.arrays import Bool
from pghot.cli.main import run
from pghot.recording.trace import MemoryTrace
from pghot.recording.writer import write_recording

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


@pytest.mark.parametrize("tiers", ["dram-cxl", "dram-cxl-compressed"])
@pytest.mark.parametrize(
    "recording",
    [empty(), trace(1), trace(miss=np.zeros(60_000, np.bool_))],
    ids=["empty", "one", "no misses"],
)
def test_the_command_says_that_it_cannot_tell(
    recording: MemoryTrace, tiers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recording(tmp_path / "a.pghot", recording)
    command = ["compare", str(tmp_path / "a.pghot"), "--policies", "numab2", "--seeds", "1", "--tiers", tiers]
    for form in ([], ["--json"]):
        assert run([*command, "--duration", "one-pass", *form]) == 0
    said = capsys.readouterr().out
    text, document = (
        said[: said.index('{"')],
        json.loads(said[said.index('{"') :], parse_constant=pytest.fail),
    )
    assert "cannot be told" in text
    assert "does not pay" not in text
    assert document["verdict"]["outcome"] == "cannot tell"


@pytest.mark.parametrize(
    ("recording", "reason"),
    [(empty(), "no access missed"), (trace(1), "only 1 slice")],
    ids=["empty", "one"],
)
def test_economics_gives_no_times_of_it(
    recording: MemoryTrace, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a miss nothing is slower anywhere: a slowdown of 1.00 was said of it."""
    write_recording(tmp_path / "a.pghot", recording)
    assert run(["economics", str(tmp_path / "a.pghot"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert {(line["slowdown"], line["speedup"]) for line in document["lines"]} == {(None, None)}
    (warnings,) = document["warnings"].values()
    assert any("cannot be told" in text and reason in text for text in warnings)
    assert run(["economics", str(tmp_path / "a.pghot")]) == 0
    assert "slowdown and speed-up cannot be told" in capsys.readouterr().out
