"""perf.data: figures by hand, every beginning of a file, damage, and real files cross-read by `perf script`."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from builders import perf_data as pd
from builders.foreign import imported, rows_of
from pghot.errors import PghotError, UnsupportedError, UsageError
from pghot.recording.importers.time_order import TimeOrder

MS = 1_000_000
SAMPLES = [
    pd.memory(5 * MS, 0x1000, pd.LOAD_RAM, 10),
    pd.memory(5 * MS + 1, 0x1040, pd.LOAD_L1, 10),
    pd.memory(5 * MS + 2, 0x2000, pd.STORE_RAM, 5),
    pd.memory(7 * MS, 0x1000, pd.LOAD_RAM, 1, pid=8),
]
# A sample stands for its period; the L1 answered ten of page 1's accesses. Process 8 has a page 1 of its own.
ROWS = [(0, 1, 20, 10, 0), (0, 2, 5, 5, 5), (2 * MS, 513, 1, 1, 0)]
needs_perf = pytest.mark.skipif(not shutil.which("perf"), reason="perf is not installed (Debian: linux-perf)")


def saved(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "perf.data"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("make", [pd.perf_data, pd.piped])
def test_a_sample_is_its_period_of_accesses_and_its_source_says_what_missed(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    recording = imported(saved(tmp_path, make([(pd.attr(), [])], SAMPLES)))
    assert rows_of(recording) == ROWS
    assert recording.info.sampling_period == 6  # 26 / 4
    assert [region.space for region in recording.regions] == [0, 1]


def test_rounds_put_the_samples_of_two_cpus_in_order(tmp_path: Path) -> None:
    round_ = pd.record(68)
    records = [SAMPLES[2], SAMPLES[0], round_, SAMPLES[3], SAMPLES[1], round_]
    recording = imported(saved(tmp_path, pd.perf_data([(pd.attr(), [])], records)))
    assert rows_of(recording) == ROWS
    assert not any("earlier times" in said for said in recording.info.not_known)


def test_what_is_no_access_is_counted(tmp_path: Path) -> None:
    records = [
        *SAMPLES,
        pd.memory(8 * MS, 0, pd.LOAD_RAM),
        pd.memory(8 * MS, 0x1000, pd.NO_OP),
        pd.record(9, SAMPLES[0][8:], pd.GUEST_USER),
        pd.sample(1, 2),
        pd.record(2, struct.pack("<QQ", 1, 40)),
        pd.record(13, struct.pack("<Q", 41)),
        pd.memory(7 * MS, 0x5000, pd.LOAD_NO_LEVEL, 1, pid=8),
    ]
    recording = imported(saved(tmp_path, pd.perf_data([(pd.attr(), [])], records)))
    assert rows_of(recording) == [*ROWS, (2 * MS, 517, 1, 1, 0)]
    for said in (
        "1 samples without an address",
        "1 samples that are neither loads nor stores",
        "1 samples of guests",
        "1 samples that do not fit their event",
    ):
        assert f"left out: {said}" in recording.info.doubt
    assert recording.info.lost == 41  # the kernel counts what the ring had no room for in both
    assert any(said.startswith("1 of 5 samples say no level") for said in recording.info.not_known)


def test_events_are_told_apart_by_their_ids_and_an_access_counts_once(tmp_path: Path) -> None:
    """perf makes of one record of SPE a sample for each event that it is of."""
    types = pd.IDENTIFIER | pd.IP | pd.TID | pd.TIME | pd.ADDR | pd.DATA_SRC
    spe = [0x400000, 7 | 7 << 32, 5 * MS, 0x1000, pd.LOAD_RAM]
    counts = pd.sample(13, 0x400000, 7 | 7 << 32, 5 * MS)  # of an event without addresses
    records = [pd.sample(11, *spe), pd.sample(12, *spe), pd.sample(99, *spe), counts]
    events = [
        (pd.attr(types, period=3), [11]),
        (pd.attr(types, period=3), [12]),
        (pd.attr(pd.IDENTIFIER | pd.IP | pd.TID | pd.TIME), [13]),
    ]
    recording = imported(saved(tmp_path, pd.perf_data(events, records)))
    assert rows_of(recording) == [(0, 1, 3, 3, 0)]
    assert "1 samples of an access that another event has too" in recording.info.doubt
    assert "1 samples of events that the file does not name" in recording.info.doubt
    assert "1 samples without an address" in recording.info.doubt


def test_fields_of_any_length_are_passed(tmp_path: Path) -> None:
    """READ of a group of 2, 3 callers, 5 raw bytes, 2 branches, registers and stack of the user."""
    types = (
        pd.MEMORY
        | pd.READ
        | pd.CALLCHAIN
        | pd.RAW
        | pd.BRANCH_STACK
        | pd.REGS_USER
        | pd.STACK_USER
        | pd.REGS_INTR
    )
    words = [
        0x400000, 7, 5 * MS, 0x3000, 0, 4,
        2, 1, 2, 3, 4, 3, 91, 92, 93, 5 | 0xAA << 32, 0xBB, 2, *range(6), 1, 51, 52, 16, 61, 62, 16,
        90, pd.STORE_RAM, 1, 51, 52, 0x3000,
    ]  # fmt: skip
    event = pd.attr(types, read_format=8 | 4, user_regs=0b101)
    recording = imported(saved(tmp_path, pd.perf_data([(event, [])], [pd.sample(*words)])))
    assert rows_of(recording) == [(0, 3, 4, 4, 4)]
    words[17] = 1 << 62  # branches
    with pytest.raises(UsageError, match="no access"):
        imported(saved(tmp_path, pd.perf_data([(event, [])], [pd.sample(*words)])))


def test_damons_tracepoint_is_read_by_the_format_in_the_file(tmp_path: Path) -> None:
    event = (pd.attr(pd.TID | pd.TIME | pd.RAW, kind=2, config=777, period=1), [])
    records = [
        pd.region(5 * MS, 1 << 63, 0x1000, 0x3000, 3),
        pd.region(5 * MS, 1 << 63, 0x3000, 0x9000, 0),
        pd.region(105 * MS, 9, 0x1000, 0x2000, 20),
        pd.region(105 * MS, 9, 0x9000, 0x2000, 20),
    ]
    tracing = b"\x17\x08\x44tracing0.6\0" + pd.DAMON_FORMAT
    rows = [(0, 1, 3, 3, 0), (0, 2, 3, 3, 0), (100 * MS, 513, 20, 20, 0)]
    recording = imported(saved(tmp_path, pd.perf_data([event], records, tracing)))
    assert rows_of(recording) == rows
    assert any("not told apart" in said for said in recording.info.not_known)
    assert "1 regions of impossible addresses, or of more than 16 GiB" in recording.info.doubt
    size = struct.pack("<I", len(tracing))
    inline = struct.pack("<IHH", 66, 0, 12) + size + tracing + b"\0" * (-len(tracing) % 8)
    # The header of this record is 12 bytes: what follows is at no multiple of 8.
    recording = imported(saved(tmp_path, pd.piped([event], [inline, *records])))
    assert [row[1:] for row in rows_of(recording)] == [row[1:] for row in rows]


def test_the_kernels_addresses_are_one_space(tmp_path: Path) -> None:
    address = 0xFFFF888000001000
    records = [pd.memory(MS, address, pd.LOAD_RAM, pid=7), pd.memory(MS, address, pd.LOAD_RAM, pid=8)]
    recording = imported(saved(tmp_path, pd.perf_data([(pd.attr(), [])], records)))
    assert rows_of(recording) == [(0, 1, 2, 2, 0)]


def test_every_beginning_of_a_file_is_refused_or_says_what_is_missing(tmp_path: Path) -> None:
    content = pd.perf_data([(pd.attr(), [1, 2])], SAMPLES)
    for length in range(1, len(content)):
        path = saved(tmp_path, content[:length])
        try:
            recording = imported(path)
        except PghotError:
            continue
        assert rows_of(recording)[0][1] == 1
        assert any("which are missing" in said for said in recording.info.not_known)


def test_a_file_that_perf_did_not_finish_is_read_to_its_end(tmp_path: Path) -> None:
    content = bytearray(pd.perf_data([(pd.attr(), [])], SAMPLES))
    content[48:56] = bytes(8)
    recording = imported(saved(tmp_path, bytes(content)))
    assert rows_of(recording) == ROWS
    assert any("perf was stopped" in said for said in recording.info.not_known)


@pytest.mark.parametrize(
    "place, word, message",
    [
        (8, 105, "damaged at byte 8: a header of 105 bytes"),
        (16, 1 << 40, "damaged at byte 16: events of 1,099,511,627,776 bytes"),
        (24, 1 << 60, "damaged at byte 24: its events are not before its data"),
        (32, 144 << 20, "damaged at byte 32: 1,048,576 events"),
        (104 + 24, 1 << 40, "damaged at byte 104: samples with the unknown fields"),
        (248, 0, "damaged at byte 248: no record of perf"),
    ],
)
def test_damage_is_named_with_its_place(tmp_path: Path, place: int, word: int, message: str) -> None:
    content = bytearray(pd.perf_data([(pd.attr(), [])], SAMPLES))
    content[place : place + 8] = struct.pack("<Q", word)
    with pytest.raises(PghotError, match=re.escape(message)):
        imported(saved(tmp_path, bytes(content)))


@pytest.mark.parametrize(
    "content, message",
    [
        (b"2ELIFREP" + bytes(96), "big-endian"),
        (b"PERFFILE" + bytes(96), "first version"),
        (pd.perf_data([(pd.attr(), [])], [*SAMPLES, pd.record(81, bytes(8))]), "compressed records"),
    ],
)
def test_what_is_not_read_is_refused_in_words(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        imported(saved(tmp_path, content))


def test_an_aux_area_is_passed_and_said(tmp_path: Path) -> None:
    area = pd.record(71, struct.pack("<QQQIIII", 4096, 0, 0, 0, 0, 0, 0)) + b"\xff" * 4096
    recording = imported(saved(tmp_path, pd.perf_data([(pd.attr(), [])], [area, *SAMPLES])))
    assert rows_of(recording) == ROWS
    assert any("AUX area" in said for said in recording.info.not_known)


def test_held_samples_are_bounded() -> None:
    order = TimeOrder(1, most_held=4)
    given = [order.add(np.array([[time]], np.uint64), 0) for time in (5, 4, 3, 2, 1)]
    assert [each[0].tolist() for each in given] == [[], [], [], [], [1, 2, 3]]
    assert order.rest()[0].tolist() == [4, 5]


@needs_perf
def test_page_faults_of_a_real_program_are_those_that_perf_script_prints(tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    program = [sys.executable, "-c", "a = bytearray(8 << 20)"]
    recorded = subprocess.run(
        ["perf", "record", "-e", "page-faults", "-c", "1", "-d", "-o", str(path), *program],
        capture_output=True, text=True,
    )  # fmt: skip
    if recorded.returncode:
        pytest.skip(f"perf may not record here: {recorded.stderr.strip().splitlines()[-1]}")
    assert pages_of(path) == pages_by_perf(path)
    assert sum(pages_by_perf(path).values()) > 2048


@needs_perf
def test_samples_of_the_writer_are_those_that_perf_script_prints(tmp_path: Path) -> None:
    path = saved(tmp_path, pd.perf_data([(pd.attr(), [])], SAMPLES))
    assert pages_by_perf(path, "period") == pages_of(path)


def pages_by_perf(path: Path, weight: str = "") -> Counter[int]:
    """What `perf script` prints, per page."""
    fields = "addr" if not weight else f"{weight},addr"
    command = ["perf", "script", "-i", str(path), "-F", fields]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pages: Counter[int] = Counter()
    for line in text.splitlines():
        words = line.split()
        pages[int(words[-1], 16) >> 12] += int(words[0]) if weight else 1
    return pages


def pages_of(path: Path) -> Counter[int]:
    """What was imported, per page of all address spaces."""
    recording = imported(path)
    pages: Counter[int] = Counter()
    for _, page, touches, _, _ in rows_of(recording):
        region = next(each for each in recording.regions if 0 <= page - each.first_page < each.pages)
        pages[(region.start_address >> 12) + page - region.first_page] += touches
    return pages
