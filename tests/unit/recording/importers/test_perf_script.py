"""The text of `perf script`: figures by hand, any choice of fields, damage, real files beside perf.data's import."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builders import perf_data as pd
from builders.foreign import imported, rows_of
from pghot.errors import PghotError, UsageError
from pghot.recording.importers.perf_script import _ADDRESS, _INSTRUCTION, _LINE, _REGION, PerfScript

MS = 1_000_000
# A sample stands for its period; the L1 answered ten of page 1's accesses. Process 8 has a page 1 of its own.
TEXT = """\
 redis server     7/7         0.005000:      10 cpu/mem-loads,ldlat=30/P:      1000   1042 |OP LOAD|LVL Local RAM hit
 redis server     7/9         0.005000:      10 cpu/mem-loads,ldlat=30/P:      1040    142 |OP LOAD|LVL L1 hit|SNP N/A

 redis server     7/7         0.005000:      5 cpu/mem-stores/P:      2000   1044 |OP STORE|LVL Local RAM hit
              :8     8/8         0.007000:      1 raw 0x1cd:HG:      1000   1042 |OP LOAD|LVL Local RAM hit
"""
ROWS = [(0, 1, 20, 10, 0), (0, 2, 5, 5, 5), (2 * MS, 513, 1, 1, 0)]
needs_perf = pytest.mark.skipif(not shutil.which("perf"), reason="perf is not installed (Debian: linux-perf)")


def saved(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "samples.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_sample_is_its_period_of_accesses_and_its_source_says_what_missed(tmp_path: Path) -> None:
    recording = imported(saved(tmp_path, TEXT))
    assert rows_of(recording) == ROWS
    assert recording.info.doubt.startswith("it was imported from perf-script")
    assert recording.info.sampling_period == 6  # 26 / 4
    assert [region.space for region in recording.regions] == [0, 1]


@pytest.mark.parametrize(
    "line",
    [
        "sh 7/7 [003] 1.500000: 1 page-faults:u: 7f0000001000 7f0012345678 _start+0x0 (/lib/ld.so)",
        "sh 7/7 1.500000: page-faults: 7f0000001000",
        "1.500000: page-faults: 7f0000001000 ",
        "my prog 7 1.500000123: dTLB-load-misses: 7f0000001000 401000 add+0x10 (sh)",
        "7/7 1.500000: 1 page-faults: 7f0000001000\r",
    ],
)
def test_any_choice_of_fields_will_do(line: str, tmp_path: Path) -> None:
    recording = imported(saved(tmp_path, f"# captured on : today\n{line}\n"))
    (row,) = rows_of(recording)
    (region,) = recording.regions
    assert row[2:] == (1, 1, 0)
    assert region.start_address >> 12 <= 0x7F0000001 < (region.start_address >> 12) + region.pages


def test_lines_of_call_chains_are_no_samples(tmp_path: Path) -> None:
    line = "sh 7/7 1.500000: 1 page-faults: 7f0000001000 "
    text = f"{line}\n\t    7f0012345678 _start+0x0 (/lib/ld.so)\n\t          401000 main+0x4 (sh)\n\n"
    recording = imported(saved(tmp_path, text * 2))
    assert recording.total_touches == 2
    assert "left out" not in recording.info.doubt


def test_what_the_fields_leave_out_is_said(tmp_path: Path) -> None:
    recording = imported(saved(tmp_path, "sh 7 page-faults: 1000\nsh 8 cycles: 1000\n"))
    said = " ".join(recording.info.not_known)
    assert [row[1:3] for row in rows_of(recording)] == [(1, 2)]
    for words in (
        "processes are not told apart",
        "time is not known",
        "only page faults",
        "writes and cache misses",
    ):
        assert words in said


def test_what_is_no_access_is_counted(tmp_path: Path) -> None:
    text = TEXT + (
        "sh 7/7 0.008000: 1 cycles: 401000 main+0x4 (sh)\n"
        "sh 7/7 0.008000: 1 cycles: 0\n"
        "sh 7/7 0.008000: 1 mem: 1000 1 |OP N/A|\n"
        "what is this\n"
        "sh 7/7 0.007000: 1 mem: 5000 2 |OP LOAD|LVL N/A\n"
    )
    recording = imported(saved(tmp_path, text))
    assert rows_of(recording) == [ROWS[0], ROWS[1], (2 * MS, 5, 1, 1, 0), ROWS[2]]
    doubt = recording.info.doubt
    for words in (
        "2 samples without an address",
        "1 samples that are neither loads nor stores",
        "1 lines that are no sample",
    ):
        assert f"left out: {words}" in doubt
    assert "1 of 5 samples say no level of memory, and count as misses" in recording.info.not_known


def test_text_without_addresses_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no access in it: 3 samples without an address"):
        imported(saved(tmp_path, "sh 7/7 0.008000: 1 cycles: 401000 main+0x4 (sh)\n" * 3))


def test_regions_of_damon_are_accesses_of_each_of_their_pages(tmp_path: Path) -> None:
    """Two targets; one region that was not accessed, one without an age, as older kernels print it."""
    text = "".join(
        f"kdamond.0 77 [001] 2.{at}00000: damon:damon_aggregated: target_id={target} nr_regions=2 {region}\n"
        for at, target, region in (
            (0, 0, "4096-12288: 3 1"), (0, 0, "12288-16384: 0 9"), (1, 1, "4096-8192: 2"), (1, 0, "8192-4096: 2 1"),
        )
    )  # fmt: skip
    recording = imported(saved(tmp_path, text))
    assert rows_of(recording) == [(0, 1, 3, 3, 0), (0, 2, 3, 3, 0), (100 * MS, 513, 2, 2, 0)]
    assert "1 regions of impossible addresses" in recording.info.doubt


def test_every_beginning_of_a_text_loses_only_its_end(tmp_path: Path) -> None:
    """What the whole lines before the cut say is there; the line that is cut may have lost digits, or its source."""
    for end in range(1, len(TEXT) + 1):
        whole = TEXT[: TEXT.rfind("\n", 0, end) + 1]
        try:
            found = {row[:2]: row[2] for row in rows_of(imported(saved(tmp_path, TEXT[:end])))}
        except PghotError:
            assert not whole
            continue
        for time_ns, page, touches, *_ in rows_of(imported(saved(tmp_path, whole))) if whole else []:
            assert found[time_ns, page] >= touches


def test_a_hostile_line_costs_no_more_than_its_length() -> None:
    """Nothing in the patterns repeats without a limit, and so no line of 64 KiB makes them go back and forth for long:
    the calls return."""
    for pattern in (_LINE, _ADDRESS, _REGION, _INSTRUCTION):
        assert not re.search(rb"[^\\][*+]", pattern.pattern)
    for piece in (b"a ", b"1 ", b"a 1 ", b"a 1/1 ", b" ", b"a:", b"a: ", b"1.000000: ", b"\t7f0 "):
        PerfScript.claims("", piece * (65_000 // len(piece)) + b"\n")


@needs_perf
def test_it_is_what_the_import_of_perf_data_finds(tmp_path: Path) -> None:
    """Of page faults of a real program, and of samples from the writer."""
    real, made = tmp_path / "real.data", tmp_path / "made.data"
    samples = [
        pd.memory(5 * MS, 0x1000, pd.LOAD_RAM, 10),
        pd.memory(5 * MS + 1000, 0x1040, pd.LOAD_L1, 10),
        pd.memory(5 * MS + 2000, 0x2000, pd.STORE_RAM, 5),
        pd.memory(7 * MS, 0x1000, pd.LOAD_RAM, 1, pid=8),
    ]
    made.write_bytes(pd.perf_data([(pd.attr(), [])], samples))
    program = [sys.executable, "-c", "x = bytearray(1 << 22)"]
    command = ["perf", "record", "-q", "-e", "page-faults", "-c", "1", "-d", "-o", str(real), "--", *program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"perf may not record here: {done.stderr.strip().splitlines()[-1:]}")
    for data, fields in (
        (made, "comm,pid,tid,time,period,event,addr,data_src"),
        (real, "comm,pid,tid,time,event,addr"),
    ):
        script = ["perf", "script", "--ns", "-i", str(data), "-F", fields]
        text = subprocess.run(script, capture_output=True, check=True).stdout
        assert rows_of(imported(saved(tmp_path, text))) == rows_of(imported(data))
