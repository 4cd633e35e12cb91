"""Files that are not recordings, or not whole: one clear line, or a counted loss."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders.recordings import INFO, REGIONS, all_slices, assert_same_slices, random_batch, random_trace
from pghot.errors import PghotError, UsageError
from pghot.recording import format as fmt
from pghot.recording.batches import part
from pghot.recording.buffers import BUFFERS
from pghot.recording.bytesource import open_source
from pghot.recording.framing import batch_header, messages
from pghot.recording.reader import open_recording
from pghot.recording.trace import MemoryTrace
from pghot.recording.writer import RecordingWriter
from pghot.sealed import seal


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


def with_header(path: Path, schema: pa.Schema, facts: dict[str, object]) -> None:
    """A recording with nothing but this header."""
    with pa.ipc.new_stream(path, schema.with_metadata({fmt.INFO_KEY: seal(facts)})):
        pass


def test_a_newer_version(tmp_path: Path) -> None:
    with_header(tmp_path / "a.pghot", fmt.SCHEMA, {**fmt.info_to_facts(INFO), "format": 2})
    with pytest.raises(UsageError, match="format 2, this pghot reads format 1") as caught:
        open_recording(tmp_path / "a.pghot")
    assert caught.value.hint == "upgrade pghot"


def test_other_columns(tmp_path: Path) -> None:
    with_header(tmp_path / "a.pghot", pa.schema({"a": pa.int8()}), fmt.info_to_facts(INFO))
    with pytest.raises(PghotError, match="columns are not those"):
        open_recording(tmp_path / "a.pghot")


@pytest.mark.parametrize("change", [{"slice_ns": 0}, {"nodes": "2"}, {"page_bytes": 4097}, {"command": 5}])
def test_header_values_that_cannot_be(tmp_path: Path, change: dict[str, object]) -> None:
    with_header(tmp_path / "a.pghot", fmt.SCHEMA, {**fmt.info_to_facts(INFO), **change})
    with pytest.raises(PghotError, match="damaged header"):
        open_recording(tmp_path / "a.pghot")


def test_facts_nested_too_deeply_to_parse(tmp_path: Path) -> None:
    text = '{"a":' * 100_000 + "1" + "}" * 100_000
    sealed = f"{zlib.crc32(text.encode()):08x} {text}"
    with pa.ipc.new_stream(tmp_path / "a.pghot", fmt.SCHEMA.with_metadata({fmt.INFO_KEY: sealed})):
        pass
    with pytest.raises(PghotError, match="damaged header"):
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
    assert recording.damage == "28 slices were written, 21 are there"


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
    path.write_bytes(content)


def bomb_zeros(path: Path) -> None:
    """A text buffer that really inflates to a gigabyte of zeros."""
    content = bytearray(path.read_bytes())
    message = list(messages(open_source(path)))[1]
    text = next(buffer for buffer in BUFFERS if buffer.kind == "text")
    offset, _ = batch_header(message).buffers[text.index]
    at = message.body_offset + offset
    zeros = pa.Codec("zstd").compress(bytes(1 << 30), asbytes=True)[:64]
    content[at : at + 8 + len(zeros)] = struct.pack("<q", 1 << 30) + zeros
    path.write_bytes(content)


def bomb_node_length(path: Path) -> None:
    """Each length in the first batch's metadata becomes 2^40."""
    content = bytearray(path.read_bytes())
    message = list(messages(open_source(path)))[1]
    rows = struct.pack("<qq", 7, 0)
    at = content.index(rows, message.offset)
    content[at : at + 8] = HUGE
    path.write_bytes(content)


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
