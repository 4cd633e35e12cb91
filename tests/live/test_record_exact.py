"""The recorder against programs whose every access is known."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from builders import record_programs as programs
from pghot.recorder.record_settings import RecordSettings
from pghot.recorder.recorder import Outcome, record
from pghot.recording.reader import Recording, open_recording

Compile = Callable[[str, str], str]

pytestmark = programs.needs_qemu


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    def compile_(name: str, source: str) -> str:
        program = tmp_path / name
        code = program.with_suffix(".c")
        code.write_text(source)
        subprocess.run(["cc", "-O1", "-pthread", "-o", str(program), str(code)], check=True)
        return str(program)

    return compile_


LARGE = {"cache_bytes": (32 << 20,)}


def record_it(command: list[str], tmp_path: Path, **settings: object) -> tuple[Outcome, Recording]:
    path = tmp_path / "it.pghot"
    outcome = record(command, path, RecordSettings(**settings))  # type: ignore[arg-type]
    recording = open_recording(path, verify=True)
    assert recording.complete
    return outcome, recording


def counts_of(recording: Recording, address: int, pages: int, space: int | None = None) -> np.ndarray:
    """int64[pages, 4]: touches, misses, sequential, writes of each page of a range, over all slices."""
    totals = np.zeros((recording.pages, 4), np.int64)
    for batch in recording.batches():
        for column, values in enumerate((batch.touches, batch.misses, batch.sequential, batch.writes)):
            np.add.at(totals[:, column], batch.page, values)
    found = np.zeros((pages, 4), np.int64)
    for region in recording.regions:
        first = (region.start_address - address) // 4096
        for at in range(max(first, 0), min(first + region.pages, pages)):
            if space is None or region.space == space:
                found[at] += totals[region.first_page + at - first]
    return found


@pytest.mark.parametrize("slice_us", [1, 20, 1000])
def test_every_access_of_a_known_program_is_counted(compiled: Compile, tmp_path: Path, slice_us: int) -> None:
    outcome, recording = record_it(
        [compiled("known", programs.KNOWN)], tmp_path, slice_ns=slice_us * 1000, cache_bytes=(32 << 20,)
    )
    counts = counts_of(recording, programs.AREA, 997)
    assert outcome.status == 0
    # 23 stores and 7 loads; 23 lines missed once, 22 of them after their neighbour; the loads find their line
    assert np.array_equal(np.unique(counts, axis=0), [[30, 23, 22, 23]])
    assert recording.info.lost == 0


def test_a_small_cache_misses_again(compiled: Compile, tmp_path: Path) -> None:
    _, recording = record_it([compiled("known", programs.KNOWN)], tmp_path, cache_bytes=(1 << 20,))
    counts = counts_of(recording, programs.AREA, 997)
    # 997 pages of 23 lines are 1.4 MiB. The first line of each page is loaded again 996 pages later: a miss,
    # except for the end of the area, which the cache still holds.
    assert set(counts[:, 0]) == {30}
    assert np.all(counts[:100, 1] == 24)


def test_total_references_agree_with_valgrind(compiled: Compile, tmp_path: Path) -> None:
    if shutil.which("valgrind") is None:
        pytest.skip("no valgrind to count the references with (package valgrind)")
    program = compiled("known", programs.KNOWN)
    _, recording = record_it([program], tmp_path)
    trace = subprocess.run(
        ["valgrind", "--tool=lackey", "--trace-mem=yes", program], capture_output=True, text=True, check=False
    ).stderr
    end = programs.AREA + 997 * 4096
    kinds = [
        line[1]
        for line in trace.splitlines()
        if line[:3] in (" L ", " S ") and programs.AREA <= _address(line) < end
    ]
    counts = counts_of(recording, programs.AREA, 997).sum(axis=0)
    assert (len(kinds), kinds.count("S")) == (counts[0], counts[3])


def _address(line: str) -> int:
    return int(line[3:].split(",")[0], 16)


def test_many_threads_lose_nothing(compiled: Compile, tmp_path: Path) -> None:
    outcome, recording = record_it([compiled("threads", programs.THREADS)], tmp_path, slice_ns=20_000)
    counts = counts_of(recording, programs.AREA, 5 * 101)
    assert set(counts[:, 0]) == {400 * 13}
    assert set(counts[:, 3]) == {400 * 13}
    assert outcome.threads == recording.info.threads == 5


def test_slices_follow_the_virtual_clock(compiled: Compile, tmp_path: Path) -> None:
    _, recording = record_it([compiled("known", programs.KNOWN)], tmp_path, slice_ns=10_000)
    starts = np.concatenate([batch.start_ns for batch in recording.batches()])
    instructions = np.concatenate([batch.instructions for batch in recording.batches()])
    assert np.array_equal(starts, np.arange(len(starts)) * 10_000)
    # a slice ends with the block of instructions that fills it, and a block has at most 512
    assert np.all(np.abs(np.cumsum(instructions)[:-1] - np.arange(1, len(starts)) * 20_000) <= 512)


def test_a_forked_child_is_another_address_space(compiled: Compile, tmp_path: Path) -> None:
    outcome, recording = record_it([compiled("fork", programs.FORK)], tmp_path, children=True)
    assert set(counts_of(recording, programs.AREA, 101, space=0)[:, 3]) == {1}
    assert set(counts_of(recording, programs.SECOND_AREA, 53, space=1)[:, 3]) == {2}
    assert not counts_of(recording, programs.SECOND_AREA, 53, space=0).any()
    assert outcome.not_followed == ()


def test_a_child_that_is_not_followed_is_named(compiled: Compile, tmp_path: Path) -> None:
    outcome, recording = record_it([compiled("fork", programs.FORK)], tmp_path, children=False)
    assert set(counts_of(recording, programs.AREA, 101)[:, 3]) == {1}
    assert not counts_of(recording, programs.SECOND_AREA, 53).any()
    assert outcome.status == 0
    assert recording.final["children_not_followed"] == ["a fork of the program"]


def test_exec_is_followed_through_a_shell_and_env(
    compiled: Compile, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = compiled("started", programs.STARTED)
    outcome, recording = record_it(["sh", "-c", f"exec env RECORDED=yes {program} 'one two'"], tmp_path)
    assert set(counts_of(recording, programs.AREA, 101)[:, 3]) == {1}
    assert capfd.readouterr().out == f"{program} one two yes\n"
    assert outcome.threads == 1


@pytest.mark.parametrize("follow", [False, True])
def test_a_script_and_the_children_of_a_shell(compiled: Compile, tmp_path: Path, follow: bool) -> None:
    program = compiled("started", programs.STARTED)
    inner = tmp_path / "inner"
    inner.write_text(f"#!/bin/sh -e\n{program} $1\n{program} $2\n:\n")
    outer = tmp_path / "outer"
    outer.write_text(f"#!/usr/bin/env sh\nexec {inner} a b\n")
    for script in (inner, outer):
        os.chmod(script, 0o755)
    outcome, recording = record_it([str(outer)], tmp_path, children=follow)
    writes = counts_of(recording, programs.AREA, 101)[:, 3]
    assert set(writes) == ({2} if follow else {0})
    assert outcome.not_followed == (() if follow else (program,))


def test_a_program_that_closes_every_descriptor_is_still_recorded(compiled: Compile, tmp_path: Path) -> None:
    outcome, recording = record_it([compiled("closes", programs.CLOSES_ALL)], tmp_path, slice_ns=10_000)
    assert outcome.status == 0
    assert set(counts_of(recording, programs.AREA, 101)[:, 3]) == {1}


def test_regions_have_the_names_that_a_reader_expects(compiled: Compile, tmp_path: Path) -> None:
    program = compiled("known", programs.KNOWN)
    _, recording = record_it([program], tmp_path)
    names = {region.name for region in recording.regions}
    assert {"[stack]", "[anon]", program} <= names
    assert any(Path(name).name.startswith("libc") for name in names)
    area = [
        region for region in recording.regions if programs.AREA <= region.start_address < programs.SECOND_AREA
    ]
    assert {region.name for region in area} == {"[anon]"}
    assert sum(region.pages for region in area) == 997
