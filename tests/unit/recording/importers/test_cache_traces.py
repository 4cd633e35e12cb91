"""libCacheSim's formats: figures by hand, and every beginning of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.foreign import imported, oracle_general, rows_of, vscsi
from pghot.errors import PghotError, UsageError
from pghot.recording.convert import convert
from pghot.recording.trace import Verification

S = 1_000_000_000
# Object 70 three times, twice in the first second; the clock begins at 100 s.
REQUESTS = [(100, 70, 512, 1), (100, 70, 512, 3), (100, 9, 4096, -1), (102, 70, 512, -1)]


def test_each_object_is_a_page_and_each_second_a_slice(tmp_path: Path) -> None:
    path = tmp_path / "a.oracleGeneral.bin"
    path.write_bytes(oracle_general(REQUESTS))
    recording = imported(path)
    # The object that came first is page 0. The second without a request has no slice.
    assert rows_of(recording) == [(0, 0, 2, 2, 0), (0, 1, 1, 1, 0), (2 * S, 0, 1, 1, 0)]
    assert recording.regions == ()
    assert recording.info.verification is Verification.UNVERIFIED
    assert any("writes are not known" in sentence for sentence in recording.info.not_known)


def test_a_slice_has_the_instructions_of_the_idle_time_after_it(tmp_path: Path) -> None:
    path = tmp_path / "a.oracleGeneral.bin"
    path.write_bytes(oracle_general(REQUESTS))
    (batch,) = imported(path).batches()
    # 2 s until the next request at 0.5 ns each; the last request is 1 ns long.
    assert batch.instructions.tolist() == [4 * S, 2]


def test_an_earlier_time_counts_as_the_last_one_and_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.oracleGeneral.bin"
    later = [(200 + i, 1000 + i, 1, -1) for i in range(200)]  # what `claims` looks at is in order
    path.write_bytes(oracle_general([*later, (150, 1, 1, -1)]))
    recording = imported(path)
    assert rows_of(recording)[-1] == (199 * S, 200, 1, 1, 0)
    assert any(sentence.startswith("1 accesses had earlier times") for sentence in recording.info.not_known)


def test_every_beginning_of_a_file_is_counted_or_refused(tmp_path: Path) -> None:
    content = oracle_general(REQUESTS)
    path = tmp_path / "a.oracleGeneral.bin"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        if length < 24:
            with pytest.raises(UsageError):
                imported(path)
            continue
        recording = imported(path)
        assert recording.total_touches == length // 24
        rest = length % 24
        assert (f"left out: {rest} bytes at the end" in recording.info.doubt) == bool(rest)


@pytest.mark.parametrize("version", [1, 2])
def test_vscsi_touches_every_page_of_a_request(tmp_path: Path, version: int) -> None:
    # Block 15 is at 7680: 4096 bytes from there lie in pages 1 and 2. Block 16 is the first of page 2.
    path = tmp_path / "disk"
    path.write_bytes(vscsi(version, [(5_000_000, 0x2A, 15, 4096), (6_500_000, 0x28, 16, 512)]))
    recording = imported(path)
    assert rows_of(recording) == [(0, 1, 1, 1, 1), (0, 2, 1, 1, 1), (1 * S, 2, 1, 1, 0)]
    assert [(region.start_address, region.first_page) for region in recording.regions] == [(0, 0)]


def test_vscsi_of_two_versions_is_damaged_where_the_other_begins(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    first = vscsi(1, [(i, 0x28, i, 512) for i in range(300)])
    path.write_bytes(first + vscsi(2, [(0, 0x28, 0, 512)] * 4))
    with pytest.raises(PghotError, match="damaged at byte 9,600: a record that is not of version 1"):
        imported(path)


def test_a_request_larger_than_any_is_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(vscsi(1, [(0, 0x28, 8, 0xFFFFFFFF), (0, 0x28, 8, 512)]))
    recording = imported(path)
    assert recording.total_touches == 1
    assert "left out: 1 requests larger than 32 MiB" in recording.info.doubt


def test_csv_of_blocks_with_commands_in_hexadecimal(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("version,time,op,size,lbn\n1,50,2a,512,8\n1,50,28,4096,9\n1,51,28,512,0\n")
    # Block 8 is page 1; 4096 bytes from block 9 lie in pages 1 and 2.
    assert rows_of(imported(path)) == [(0, 1, 2, 2, 1), (0, 2, 1, 1, 0), (1 * S, 0, 1, 1, 0)]


def test_csv_of_objects_says_what_it_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time_ms;obj_id\n0;7\n999.5;8\n1000;7\n")
    recording = imported(path)
    assert rows_of(recording) == [(0, 0, 1, 1, 0), (0, 1, 1, 1, 0), (1 * S, 0, 1, 1, 0)]
    assert len(recording.info.not_known) == 2


def test_csv_lines_that_make_no_sense_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time,obj_id\n0,7\n0,seven\nnever,7\n1,2,3\n-1,7\n1,7\n")
    recording = imported(path)
    assert recording.total_touches == 2
    assert "3 lines without the numbers" in recording.info.doubt
    assert "1 lines of another number of columns" in recording.info.doubt


def test_a_rate_is_for_files_without_time_only(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time,obj_id\n0,7\n")
    with pytest.raises(UsageError, match="a time of its own"):
        convert(path, tmp_path / "a.pghot", accesses_per_us=10)
    path.write_text("op,address\nr,0x1000\nw,0x1040\nr,0x1000\n")
    convert(path, tmp_path / "b.pghot", accesses_per_us=0.001)  # 1 ms apart
    from pghot.recording.reader import open_recording

    # The third is of a line that is in the cache.
    rows = rows_of(open_recording(tmp_path / "b.pghot"))
    assert rows == [(0, 1, 1, 1, 0), (1_000_000, 1, 1, 1, 1), (2_000_000, 1, 1, 0, 0)]


def test_an_unknown_file_is_told_by_its_first_bytes_and_the_formats(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(b"GIF89a\x00\xff")
    with pytest.raises(UsageError, match="it begins with the bytes 47 49 46 38 39 61 00 ff") as caught:
        imported(path)
    assert "oracleGeneral" in caught.value.hint
    assert "vscsi" in caught.value.hint
