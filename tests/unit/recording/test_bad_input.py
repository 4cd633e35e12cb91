"""Files that are not recordings, or not whole: one clear line, or a counted loss."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders.forged import forging, resealed
from builders.recordings import INFO, REGIONS, all_slices, assert_same_slices, random_batch, random_trace
from pghot.errors import PghotError, UsageError
from pghot.recording import format as fmt
from pghot.recording import header
from pghot.recording.batches import part
from pghot.recording.buffers import layout
from pghot.recording.bytesource import open_source
from pghot.recording.digest import BLANK
from pghot.recording.framing import batch_header, messages
from pghot.recording.reader import open_recording
from pghot.recording.trace import MemoryTrace, TraceInfo
from pghot.recording.writer import RecordingWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good recording of four batches, seven slices each."""
    target = tmp_path / "a.pghot"
    with RecordingWriter(target, INFO, flush_slices=7) as writer:
        for batch in random_trace(parts=4).batches():
            writer.append(batch, REGIONS)
    return target


def first_body(path: Path) -> int:
    """Where the body of the first record batch begins."""
    return [message.body_offset for message in messages(open_source(path))][1]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recording"):
        open_recording(tmp_path / "no.pghot")


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a file"):
        open_recording(tmp_path)


def test_a_device_that_never_ends() -> None:
    with pytest.raises(UsageError, match="is not a file"):
        open_recording("/dev/zero")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is not a pghot recording"),
        (b"hello, this is text\n", "is not a pghot recording"),
        (b"\xff", "is not a pghot recording"),
        (b"\xff\xff\xff\xff", "cut off or damaged in its first message"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f", "cut off or damaged in its first message"),
        (b"\xff\xff\xff\xff\x00\x00\x00\x00", "cut off or damaged in its first message"),
        (b"\xff\xff\xff\xff\x08\x00\x00\x00" + b"\xff" * 8, "cut off or damaged in its first message"),
        (b"\xff" * 4096, "cut off or damaged in its first message"),
    ],
)
def test_foreign_content(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.pghot").write_bytes(content)
    with pytest.raises(PghotError, match=message) as caught:
        open_recording(tmp_path / "a.pghot")
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_parquet_is_told_how_to_become_a_recording(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.pghot")
    with pytest.raises(UsageError, match="is not a pghot recording") as caught:
        open_recording(tmp_path / "a.pghot")
    assert "pghot convert" in caught.value.hint


def test_another_programs_arrow_stream(tmp_path: Path) -> None:
    table = pa.table({"a": [1]})
    with pa.ipc.new_stream(tmp_path / "a.pghot", table.schema) as stream:
        stream.write_table(table)
    with pytest.raises(UsageError, match="an Arrow stream but not a pghot recording"):
        open_recording(tmp_path / "a.pghot")


def with_header(path: Path, schema: pa.Schema, text: str) -> None:
    """A recording with nothing but this header."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema.with_metadata({fmt.INFO_KEY: text, fmt.DIGEST_KEY: BLANK})):
        pass
    path.write_bytes(resealed(sink.getvalue().to_pybytes()))


@pytest.mark.parametrize(
    ("version", "hint"),
    [
        (4, "upgrade pghot"),
        ("2", "upgrade pghot"),
        (True, "upgrade pghot"),
        (1, "record it again; version 1 came before the first release"),
    ],
)
def test_another_version(tmp_path: Path, version: object, hint: str) -> None:
    text = json.dumps({**header.info_to_facts(INFO), "format": version})
    with_header(tmp_path / "a.pghot", fmt.schema(1), text if version != 1 else f"0badcafe {text}")
    with pytest.raises(UsageError, match=f"format {version}, this pghot reads format 2 and 3") as caught:
        open_recording(tmp_path / "a.pghot")
    assert caught.value.hint == hint


def test_other_columns(tmp_path: Path) -> None:
    facts = json.dumps(header.info_to_facts(INFO))
    for schema in (pa.schema({"a": pa.int8()}), fmt.schema(2)):
        with_header(tmp_path / "a.pghot", schema, facts)
        with pytest.raises(PghotError, match="columns are not those"):
            open_recording(tmp_path / "a.pghot")


@pytest.mark.parametrize(
    "change",
    [
        {"slice_ns": 0},
        {"slice_ns": 1e6},
        {"slice_ns": 1 << 60},
        {"nodes": "2"},
        {"nodes": 32769},
        {"page_bytes": 4097},
        {"page_bytes": 1},
        {"page_bytes": 1 << 60},
        {"threads": 1e30},
        {"threads": True},
        {"threads": 1 << 17},
        {"lost": -1},
        {"llc_ways": 1 << 40},
        {"llc_bytes": 23},
        {"cache_bytes": [1 << 20, 1 << 20]},
        {"cache_bytes": [1 << 20, 1 << 19]},
        {"cache_bytes": [1 << 21]},
        {"cache_bytes": [(1 << 20) + i for i in range(9)]},
        {"ns_per_instruction": -0.5},
        {"ns_per_instruction": 1e7},
        {"ns_per_instruction": False},
        {"mlp": -1.0},
        {"mlp": "4"},
        {"stored_bytes": [0, 4096]},
        {"stored_bytes": [4096, 4097]},
        {"stored_bytes": [4096]},
        {"stored_bytes": 5},
        {"stored_bytes": [1.5, 2]},
        {"command": 5},
        {"command": [5]},
        {"notes": [None]},
        {"name": 5},
        {"doubt": None},
        {"patterns": ["random"]},
        {"verification": "certainly"},
        {"processes": [[1, "sh", 2]]},
        {"processes": [[-1, "sh"]]},
        {"processes": [[1, None]]},
        {"processes": [[1, "sh"]], "tasks": [[1, 1, "sh"]]},
        {"processes": [[1, "sh"]], "tasks": [[1, -1, "sh"]]},
        {"processes": [[1, "sh"]], "tasks": [[1, 0, 5]]},
        {"processes": [[1, "sh"]], "tasks": [[1.5, 0, "sh"]]},
        {"processes": [[i, ""] for i in range((1 << 16) + 1)]},
    ],
    ids=lambda change: str(change)[:40],
)
def test_header_values_that_cannot_be(path: Path, change: dict[str, object]) -> None:
    """In the header they are refused by name of the file; in the final facts, which replace the header's, too."""
    content = path.read_bytes()
    with forging(path) as it:
        it.header |= change
    with pytest.raises(PghotError, match=r"damaged header|its columns are not"):
        open_recording(path)
    path.write_bytes(content)
    with forging(path) as it:
        it.facts[-1] |= change
    with pytest.raises(PghotError, match="contradicts itself"):
        open_recording(path)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_none(path: Path, number: float) -> None:
    """JSON has none such: a header with one is refused, facts with one are damage at the end."""
    content = path.read_bytes()
    with forging(path) as it:
        it.header["ns_per_instruction"] = number
    with pytest.raises(PghotError, match=r"damaged header: .* no number of JSON"):
        open_recording(path)
    path.write_bytes(content)
    with forging(path) as it:
        it.facts[-1]["exit_status"] = number
    recording = open_recording(path)
    assert recording.info.verification == "truncated"
    assert "no number of JSON" in recording.damage


@pytest.mark.parametrize("name", [each.name for each in fields(TraceInfo)])
@pytest.mark.parametrize("value", [{"a": 1}, [{"a": 1}], "heap" * 3, -1, [["a"]]], ids=str)
def test_every_header_value_is_checked(path: Path, name: str, value: object) -> None:
    """A field that is new must be checked too: no value may be taken that is of no use to it."""
    allowed = isinstance(value, str) and name in ("name", "source", "kernel", "doubt")
    with forging(path) as it:
        it.header[name] = value
    if allowed:
        assert getattr(open_recording(path).info, name) in (value, "")  # there is no doubt about a sealed one
    else:
        with pytest.raises(PghotError, match=r"damaged header|its columns are not"):
            open_recording(path)


def test_facts_nested_too_deeply_to_parse(tmp_path: Path) -> None:
    text = '{"a":' * 100_000 + "1" + "}" * 100_000
    with_header(tmp_path / "a.pghot", fmt.schema(1), text)
    with pytest.raises(PghotError, match="damaged header: nested too deeply"):
        open_recording(tmp_path / "a.pghot")


def test_truncated_anywhere_loses_whole_batches_from_the_end(path: Path) -> None:
    whole, content = all_slices(open_recording(path)), path.read_bytes()
    ends = [message.end for message in messages(open_source(path))]
    for size in range(ends[0], len(content), 61):
        path.write_bytes(content[:size])
        recording = open_recording(path)
        kept = 7 * max(0, min(4, sum(end <= size for end in ends) - 1))
        assert recording.slices == kept
        assert recording.complete == (size >= ends[-1] and not recording.damage)
        assert recording.dropped_bytes == size - max(end for end in ends if end <= size)
        assert_same_slices(all_slices(recording), part(whole, 0, kept))


def test_a_truncated_batch_says_how_many_slices_it_had(path: Path) -> None:
    last_batch = [message.end for message in messages(open_source(path))][-2]
    os.truncate(path, last_batch - 1)
    recording = open_recording(path)
    assert recording.slices == 21
    assert recording.damage == "a message that reaches beyond the end of the file"


def test_a_flipped_bit_raises_when_it_is_reached_and_names_the_place(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[[m.body_offset for m in messages(open_source(path))][2] + 40] ^= 4
    path.write_bytes(content)
    recording = open_recording(path)
    slices = recording.batches()
    next(slices)
    with pytest.raises(PghotError, match=r"is damaged at byte \d+, after 7 good slices") as caught:
        next(slices)
    assert "pghot convert" in caught.value.hint


def test_verify_drops_and_counts_what_is_damaged(path: Path) -> None:
    whole, content = all_slices(open_recording(path)), bytearray(path.read_bytes())
    third = list(messages(open_source(path)))[3]
    content[third.body_offset + 40] ^= 4
    path.write_bytes(content)
    recording = open_recording(path, verify=True)
    assert (recording.slices, recording.dropped_slices) == (14, 7)
    assert recording.dropped_bytes == len(content) - third.offset
    assert not recording.complete
    assert_same_slices(all_slices(recording), part(whole, 0, 14))


def test_a_batch_cut_out_of_the_middle_is_missed(path: Path) -> None:
    content, second = path.read_bytes(), list(messages(open_source(path)))[2]
    path.write_bytes(content[: second.offset] + content[second.end :])
    recording = open_recording(path)
    assert not recording.complete
    assert recording.slices == 7
    assert "is not in its place" in recording.damage


def test_something_after_the_end_is_not_silently_ignored(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)
    recording = open_recording(path)
    assert recording.slices == 28
    assert not recording.complete
    assert recording.dropped_bytes > 0


HUGE = struct.pack("<q", 1 << 40)


def bomb_buffer_size(path: Path) -> None:
    """Every buffer of the first batch claims a terabyte."""
    content = bytearray(path.read_bytes())
    message = list(messages(open_source(path)))[1]
    for offset, length in batch_header(message).buffers:
        if length:
            content[message.body_offset + offset : message.body_offset + offset + 8] = HUGE
    path.write_bytes(resealed(content))


def bomb_zeros(path: Path) -> None:
    """A buffer that really inflates to a gigabyte of zeros."""
    content = bytearray(path.read_bytes())
    message = list(messages(open_source(path)))[1]
    first = next(buffer for buffer in layout(1).buffers if buffer.name == "rows.page_lo")
    offset, _ = batch_header(message).buffers[first.index]
    at = message.body_offset + offset
    zeros = pa.Codec("zstd").compress(bytes(1 << 30), asbytes=True)[:64]
    content[at : at + 8 + len(zeros)] = struct.pack("<q", 1 << 30) + zeros
    path.write_bytes(resealed(content))


def bomb_node_length(path: Path) -> None:
    """Each length in the first batch's metadata becomes 2^40."""
    content = bytearray(path.read_bytes())
    message = list(messages(open_source(path)))[1]
    at = content.index(struct.pack("<qqqq", 7, 0, 7, 0), message.offset)
    content[at : at + 8] = HUGE
    path.write_bytes(resealed(content))


def bomb_body_length(path: Path) -> None:
    """The first batch claims a body of a terabyte."""
    content = bytearray(path.read_bytes())
    message = list(messages(open_source(path)))[1]
    length = struct.pack("<q", message.end - message.body_offset)
    at = content.index(length, message.offset)
    content[at : at + 8] = HUGE
    path.write_bytes(content)


def bomb_metadata_length(path: Path) -> None:
    """The first batch claims two gigabytes of metadata."""
    content = bytearray(path.read_bytes())
    at = list(messages(open_source(path)))[1].offset + 4
    content[at : at + 4] = struct.pack("<i", 0x7FFFFFF8)
    path.write_bytes(content)


def test_a_buffer_that_was_stored_without_compression(path: Path) -> None:
    """Arrow writes the length -1, then the bytes as they are. Random bytes take more room compressed."""
    content = bytearray(path.read_bytes())
    message = list(messages(open_source(path)))[1]
    touches = next(buffer for buffer in layout(1).buffers if buffer.name == "rows.touches_lo")
    offset, stored = batch_header(message).buffers[touches.index]
    at = message.body_offset + offset
    rows = random_batch().touches.astype(np.uint8).tobytes()
    assert stored >= 8 + len(rows)
    content[at : at + 8 + len(rows)] = struct.pack("<q", -1) + rows
    path.write_bytes(resealed(bytes(content)))
    assert_same_slices(all_slices(open_recording(path)), all_slices(random_trace(parts=4)))
    content[at : at + 8] = struct.pack("<q", -2)
    path.write_bytes(resealed(bytes(content)))
    with pytest.raises(PghotError, match="claims -2 bytes"):
        all_slices(open_recording(path))


LIMITED = """
import resource, sys
from pghot.errors import PghotError
from pghot.recording.reader import open_recording
import pghot.recording.codec
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20),) * 2)
try:
    recording = open_recording(sys.argv[1])
    list(recording.batches())
except PghotError as error:
    print("refused:", error)
else:
    print("kept", recording.slices, "because of", recording.damage)
"""


@pytest.mark.parametrize(
    ("bomb", "reason"),
    [
        (bomb_buffer_size, "claims 1099511627776 bytes where at most"),
        (bomb_zeros, "claims 1073741824 bytes where at most"),
        (bomb_node_length, "1099511627776 items of start_ns, more than a recording may have"),
        (bomb_body_length, "a message that reaches beyond the end of the file"),
        (bomb_metadata_length, "a message that reaches beyond the end of the file"),
    ],
)
def test_bombs_are_seen_before_memory_is_asked_for(
    path: Path, bomb: Callable[[Path], None], reason: str
) -> None:
    """Under a limit of memory and time; the reason shows that it was not the limit that stopped it."""
    bomb(path)
    run = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert reason in run.stdout


SUMMARY = """
import resource, sys
from pghot.cli.main import run
import pghot.recording.summary, pghot.recording.codec
with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)
sys.exit(run(["report", "summary", sys.argv[1]]))
"""


def test_a_large_space_in_a_small_file_is_no_traceback(path: Path) -> None:
    """Claims that only the rows could disprove: 2^24 rows that touch 8192 pages, each in a section of its own."""
    with forging(path) as it:
        last, seal = it.facts[-2:]
        seal["rows"] += (1 << 24) - last["rows"]
        last["rows"] = 1 << 24
        last["footprint_pages"] = seal["footprint_pages"] = 8192
        last["pages"] = seal["pages"] = 1 << 28
    assert path.stat().st_size < 21_000
    assert open_recording(path).pages == 1 << 28
    run = subprocess.run([sys.executable, "-c", SUMMARY, path], capture_output=True, text=True)
    assert run.returncode == 1
    lines = [
        line for line in run.stderr.splitlines() if not line.startswith("compiling ")
    ]  # on a fresh install
    assert lines[0].startswith("pghot: error: not enough memory: ")
    assert len(lines) == 2
    with pytest.raises(PghotError, match="has not as many slices and rows as it says"):
        all_slices(open_recording(path))


def test_a_killed_writer_leaves_all_but_its_last_flush(tmp_path: Path) -> None:
    path = tmp_path / "a.pghot"
    script = textwrap.dedent("""
        import os, signal, sys
        sys.path.insert(0, sys.argv[2])
        from builders.recordings import INFO, REGIONS, random_batch
        from pghot.recording.writer import RecordingWriter
        writer = RecordingWriter(sys.argv[1], INFO, flush_slices=7)
        for seed in range(3):
            writer.append(random_batch(seed=seed), REGIONS)
        writer.append(random_batch(slices=3, seed=3))
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    here = str(Path(__file__).parents[2])
    run = subprocess.run([sys.executable, "-c", script, path, here])
    assert run.returncode == -signal.SIGKILL
    recording = open_recording(path)
    assert (recording.slices, recording.complete, recording.dropped_bytes) == (21, False, 0)
    assert_same_slices(all_slices(recording), all_slices(random_trace(parts=3)))


def test_a_full_disk_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.pghot"
    script = textwrap.dedent("""
        import resource, sys
        sys.path.insert(0, sys.argv[2])
        from builders.recordings import INFO, REGIONS, random_batch
        from pghot.errors import PghotError
        from pghot.recording.writer import RecordingWriter
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            with RecordingWriter(sys.argv[1], INFO, flush_slices=7) as writer:
                for seed in range(1000):
                    writer.append(random_batch(seed=seed, rows=100), REGIONS)
        except PghotError as error:
            print(error, "|", error.hint)
    """)
    here = str(Path(__file__).parents[2])
    run = subprocess.run([sys.executable, "-c", script, path, here], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    recording = open_recording(path)
    assert run.stdout.startswith(f"cannot write {path}: File too large")
    assert f"the {recording.slices} slices before are kept" in run.stdout
    assert recording.slices > 0
    assert recording.dropped_bytes == 0
    whole = all_slices(MemoryTrace(INFO, 1536, REGIONS, [random_batch(seed=s, rows=100) for s in range(9)]))
    assert_same_slices(all_slices(recording), part(whole, 0, recording.slices))


def test_an_unreadable_file_names_the_permission(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path.chmod(0)
    with pytest.raises(PghotError, match="may not read"):
        open_recording(path)
