"""Samples of page contents against programs whose every page is known: emulated and live."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from builders import record_programs as programs
from pghot.cli.main import run
from pghot.recorder.record_settings import RecordSettings
from pghot.recorder.recorder import record
from pghot.recording.compressibility import Compressibility
from pghot.recording.convert import convert
from pghot.recording.reader import Recording, open_recording
from pghot.recording.trace import MemoryTrace, Region, SliceBatch, TraceInfo
from pghot.recording.writer import write_recording
from waiting import at_each_round

# 40 pages of each kind, one after the other: random bytes, zeros, the 64-bit word 0x1717... over and over, the
# decimal numbers of the page; then 20 copies of the first page of numbers. At the end each page is written once
# more, so that all were touched.
CONTENTS = (
    programs._PRELUDE
    + """
int main(int argc, char **argv)
{
    volatile uint64_t *a = area(SECOND_AREA, 180);
    uint64_t state = 88172645463325252;
    for (size_t w = 0; w < 40 * 512; w++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        a[w] = state;
    }
    for (size_t p = 40; p < 80; p++)
        a[p * 512] = 0;
    for (size_t w = 80 * 512; w < 120 * 512; w++)
        a[w] = 0x1717171717171717;
    for (size_t p = 120; p < 160; p++)
        for (size_t at = 0; at < 4096; at += 8)
            snprintf((char *)a + p * 4096 + at, 8, "%7zu", p * at);
    for (size_t p = 160; p < 180; p++)
        memcpy((char *)a + p * 4096, (char *)a + 120 * 4096, 4096);
    // Filled elsewhere: nobody finds a page here that is half full.
    a = mremap((void *)a, 180 * 4096, 180 * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)AREA);
    for (size_t p = 0; p < 180; p++)
        a[p * 512] = a[p * 512];
    if (argc > 1) {
        printf("ready\\n");
        fflush(stdout);
        for (size_t p = 0; ; p = (p + 1) % 180)
            a[p * 512] = a[p * 512];
    }
    (void)argv;
    return 0;
}
"""
)


def expected_pages() -> np.ndarray:
    """uint8[180, 4096]: what the program's area holds."""
    pages = np.zeros((180, 4096), np.uint8)
    state, words = 88172645463325252, []
    for _ in range(40 * 512):
        state ^= state << 13 & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 7
        state ^= state << 17 & 0xFFFFFFFFFFFFFFFF
        words.append(state)
    pages[:40] = np.array(words, np.uint64).view(np.uint8).reshape(40, 4096)
    pages[80:120] = 0x17
    for page in range(120, 160):
        text = b"".join(b"%7d\0" % (page * at) for at in range(0, 4096, 8))
        pages[page] = np.frombuffer(text, np.uint8)
    pages[160:] = pages[120]
    return pages


@pytest.fixture
def program(tmp_path: Path) -> str:
    code, path = tmp_path / "contents.c", tmp_path / "contents"
    code.write_text(CONTENTS)
    subprocess.run(["cc", "-O1", "-o", str(path), str(code)], check=True)
    return str(path)


def area_samples(recording: Recording, address: int) -> tuple[np.ndarray, np.ndarray, Compressibility]:
    """Of the samples inside the area: their page number in it, their place among all samples; and all samples."""
    samples = recording.compressibility
    assert samples is not None
    number = np.full(recording.pages, -1, np.int64)
    for region in recording.regions:
        span = slice(region.first_page, region.first_page + region.pages)
        number[span] = (region.start_address - address) // 4096 + np.arange(region.pages)
    inside = number[samples.page]
    places = np.flatnonzero((inside >= 0) & (inside < 180))
    return inside[places], places, samples


def check_sizes(found: np.ndarray, places: np.ndarray, samples: Compressibility) -> None:
    """Each sample has the flags and the bytes that the codecs, called directly, give for its page."""
    pages = expected_pages()
    np.testing.assert_array_equal(samples.zero[places], (found >= 40) & (found < 80))
    np.testing.assert_array_equal(samples.same_filled[places], (found >= 80) & (found < 120))
    for name, column in (("lz4_raw", samples.stored_bytes("lz4")), ("zstd", samples.stored_bytes("zstd"))):
        codec = pa.Codec(name) if name == "lz4_raw" else pa.Codec(name, 1)
        np.testing.assert_array_equal(
            column[places], [min(4096, len(codec.compress(pages[page].tobytes()))) for page in found.tolist()]
        )
    small = samples.stored_bytes("zstd", 1024)[places]
    blocks = [pages[page].reshape(4, 1024) for page in found.tolist()]
    codec = pa.Codec("zstd", 1)
    sizes = [sum(min(1024, len(codec.compress(b.tobytes()))) for b in four) for four in blocks]
    np.testing.assert_array_equal(small, sizes)


@programs.needs_qemu
def test_sizes_of_an_emulated_programs_pages_are_those_of_the_codecs(program: str, tmp_path: Path) -> None:
    path = tmp_path / "it.pghot"
    record([program], path, RecordSettings(compressibility=True))
    recording = open_recording(path, verify=True)
    assert recording.complete
    found, places, samples = area_samples(recording, programs.AREA)
    assert len(np.unique(found)) > 100  # 256 of the few hundred pages that the program touched
    check_sizes(found, places, samples)
    assert samples.duplicate[places][found >= 160].all()
    assert not samples.duplicate[places][found < 120].any()


@programs.needs_qemu
def test_without_the_option_nothing_is_sampled(program: str, tmp_path: Path) -> None:
    record([program], tmp_path / "it.pghot", RecordSettings())
    assert open_recording(tmp_path / "it.pghot").compressibility is None


@programs.needs_qemu
def test_forked_and_executed_programs_are_sampled_too(program: str, tmp_path: Path) -> None:
    path = tmp_path / "it.pghot"
    shell = ["sh", "-c", f"{program}; exec {program}"]
    record(shell, path, RecordSettings(compressibility=True, children=True))
    recording = open_recording(path, verify=True)
    found, places, samples = area_samples(recording, programs.AREA)
    check_sizes(found, places, samples)
    space = np.zeros(recording.pages, np.int64)
    for region in recording.regions:
        space[region.first_page : region.first_page + region.pages] = region.space
    assert set(space[samples.page[places]].tolist()) == {0, 1}


@programs.needs_qemu
def test_the_command_samples_reports_and_converts(
    program: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, table, back = tmp_path / "it.pghot", tmp_path / "it.parquet", tmp_path / "back.pghot"
    assert run(["record", str(path), "--compressibility", "--", program]) == 0
    convert(path, table)
    convert(table, back)
    mine, returned = open_recording(path).compressibility, open_recording(back).compressibility
    assert mine is not None
    assert returned is not None
    np.testing.assert_array_equal(mine.stored, returned.stored)
    np.testing.assert_array_equal(mine.page, returned.page)
    capsys.readouterr()
    assert run(["report", "summary", str(back), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["compressibility"]
    assert facts["samples"] == len(mine)
    assert facts["zero_share"] == pytest.approx(mine.zero.mean())
    assert run(["report", "summary", str(back)]) == 0
    assert "lz4 4096 B" in capsys.readouterr().out


def everything(start: int) -> MemoryTrace:
    """Each of 180 pages seen every 100 ms."""
    slices, rows = 30, 30 * 180
    ones = np.ones(rows, np.uint32)
    batch = SliceBatch(
        start_ns=np.arange(slices, dtype=np.uint64) * np.uint64(100_000_000),
        instructions=np.full(slices, 1000, np.uint64),
        offsets=np.arange(slices + 1, dtype=np.int64) * 180,
        page=np.tile(np.arange(180, dtype=np.uint32), slices),
        touches=ones,
        misses=ones,
        sequential=0 * ones,
        writes=0 * ones,
        node=np.zeros(rows, np.int16),
    )
    info = TraceInfo("seen", "workload", slice_ns=100_000_000)
    return MemoryTrace(info, 180, (Region(0, 180, 0, start, "[anon]"),), [batch])


def test_a_live_programs_pages_are_sampled(
    tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_each_round(monkeypatch, lambda number: number == 20 and os.kill(os.getpid(), signal.SIGINT))
    source, path = tmp_path / "seen.pghot", tmp_path / "live.pghot"
    with subprocess.Popen([program, "on"], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        write_recording(source, everything(programs.AREA))
        arguments = ["record", "--source", "replay", "--set", f"replay.file={source}", "-p", str(child.pid)]
        more = ["--set", "replay.loop=true", "-o", str(path), "--compressibility"]
        code = run([*arguments, *more])
        child.kill()
    assert code == 130
    recording = open_recording(path, verify=True)
    found, places, samples = area_samples(recording, programs.AREA)
    assert len(found) == len(samples)
    assert set(found.tolist()) == set(range(180))
    check_sizes(found, places, samples)
