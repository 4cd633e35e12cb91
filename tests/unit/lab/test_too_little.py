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
from pghot.cli import what_if
from pghot.cli.main import run
from pghot.cli.named import Named
from pghot.errors import PghotError
from pghot.lab.curve import curve
from pghot.lab.setting import Setting
from pghot.lab.size import size
from pghot.live.targets import Targets
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
    whole.info = replace(whole.info, llc_bytes=1 << 30, llc_ways=16, cache_bytes=(1 << 30,))
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


BORDERS = pytest.mark.parametrize(
    ("recording", "reason"),
    [
        (trace(1), "the recording has only 1 slice"),
        (trace(8), "the recording has only 8 slices"),
        (empty(), "no access missed the recorded cache"),
        (trace(miss=np.zeros(60_000, np.bool_)), "no access missed the recorded cache"),
        (trace(miss=np.arange(60_000) % 600 == 0), "the recording has 100 cache misses for"),
        (in_the_cache(), "fits in the recorded cache of 1.0 GiB"),
    ],
    ids=["one slice", "eight slices", "empty slices", "no misses", "few misses", "in the cache"],
)


@BORDERS
@pytest.mark.parametrize("times", [1.0, 1e6])
def test_how_much_fast_memory_is_needed_cannot_be_told_of_it(
    recording: MemoryTrace, reason: str, times: float
) -> None:
    """A curve of one slice said that recency needs nothing, and `size` gave bytes for all of them. What it stands for
    changes nothing: there is no more in it."""
    with pytest.raises(PghotError, match="cannot be told: ") as curve_says:
        curve(recording, setting=Setting(times=times))
    with pytest.raises(PghotError, match="cannot be told: ") as size_says:
        size(
            recording, policies=["numab2"], slowdown=1.05,
            setting=Setting(times=times, seeds=1, duration_s=None, epoch_slices=6),
        )  # fmt: skip
    for says in (curve_says.value, size_says.value):
        assert reason in str(says)
        assert says.hint.endswith(" would tell")


def test_what_is_missed_only_in_the_warm_up_has_no_size() -> None:
    """`curve` has no warm-up: its figures are of the whole recording."""
    recording = trace(miss=np.arange(60_000) < 12_000)
    with pytest.raises(PghotError, match="cannot be told: no access missed the cache after the warm-up"):
        size(
            recording, policies=["numab2"], slowdown=1.05,
            setting=Setting(seeds=1, duration_s=None, epoch_slices=6),
        )  # fmt: skip
    assert curve(recording).misses == 12_000


def test_just_enough_has_a_curve_and_a_size() -> None:
    recording = trace(10)
    assert len(curve(recording).points) > 0
    found = size(
        recording,
        policies=["numab2"],
        slowdown=1.05,
        setting=Setting(seeds=1, duration_s=None, epoch_slices=1),
    )
    assert [each.fast_share is not None for each in found.sizes] == [True, True]


@BORDERS
def test_what_if_of_it_cannot_tell(
    recording: MemoryTrace, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Programs that touched too little while they were watched."""
    monkeypatch.setattr(what_if, "_record", lambda path, *_: write_recording(path, recording))
    for as_json in (False, True):
        asked = what_if.WhatIf("dram-cxl", 0.2, "numab2", source="idle")
        what_if.what_if(asked, Named((), Targets(pids=(1,))), as_json)
    said = capsys.readouterr().out
    text, document = (
        said[: said.index('{"')],
        json.loads(said[said.index('{"') :], parse_constant=pytest.fail),
    )
    assert "cannot be told" in text
    assert document["verdict"]["outcome"] == "cannot tell"
    told = [each["reason"] for each in document["verdict"]["classes"]]
    assert [text for text in told if reason not in text] == ["no mover of this class was run"]


@pytest.mark.parametrize("command", [["compare", "--policies", "numab2", "--seeds", "1"], ["curve"]])
@pytest.mark.parametrize(
    "extreme", ["0", "0x", "-1x", "nanx", "infx", "1e300x", "1KiB", "1e30GiB", "16EiB", "x", "1e-9x"]
)
def test_what_it_cannot_stand_for_is_refused_in_words(
    command: list[str], extreme: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recording(tmp_path / "a.pghot", trace())
    assert run([*command[:1], str(tmp_path / "a.pghot"), *command[1:], f"--stands-for={extreme}"]) == 2
    assert "pghot: error: " in capsys.readouterr().err


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
