"""What is written is what is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from builders.recordings import INFO, REGIONS, all_slices, assert_same_slices, random_batch, random_trace
from pghot.errors import PghotError, UsageError
from pghot.recording.batches import part
from pghot.recording.reader import open_recording
from pghot.recording.trace import MemoryTrace, Region, Verification
from pghot.recording.writer import RecordingWriter, write_recording


@pytest.mark.parametrize("nodes", [1, 4])
@pytest.mark.parametrize("largest", [1, 1000, 2**32 - 1])
def test_a_trace_survives_the_disk(tmp_path: Path, nodes: int, largest: int) -> None:
    trace = random_trace(parts=3, info=replace(INFO, nodes=nodes), nodes=nodes, largest=largest)
    write_recording(tmp_path / "a.pghot", trace)
    recording = open_recording(tmp_path / "a.pghot")
    assert recording.info == replace(trace.info, verification=Verification.VERIFIED)
    assert recording.regions == REGIONS
    assert recording.pages == trace.pages
    assert recording.complete
    assert_same_slices(all_slices(recording), all_slices(trace))


def test_batches_can_be_iterated_again(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.pghot", random_trace())
    recording = open_recording(tmp_path / "a.pghot")
    assert_same_slices(all_slices(recording), all_slices(recording))


def test_totals_come_from_the_headers(tmp_path: Path) -> None:
    trace = random_trace(parts=3)
    write_recording(tmp_path / "a.pghot", trace)
    recording, slices = open_recording(tmp_path / "a.pghot"), all_slices(trace)
    assert recording.slices == slices.slices
    assert recording.rows == slices.rows
    assert recording.total_touches == slices.touches.sum()
    assert recording.total_misses == slices.misses.sum()
    assert recording.total_sequential == slices.sequential.sum()
    assert recording.total_writes == slices.writes.sum()
    assert recording.footprint_pages == len(np.unique(slices.page))


@pytest.mark.parametrize("flush_slices", [1, 3, 1000])
def test_slices_may_arrive_one_by_one(tmp_path: Path, flush_slices: int) -> None:
    batch = random_batch(slices=11)
    with RecordingWriter(tmp_path / "a.pghot", INFO, flush_slices=flush_slices) as writer:
        for i in range(batch.slices):
            writer.append(part(batch, i, i + 1), REGIONS[i : i + 1])
        assert (writer.slices, writer.rows) == (11, batch.rows)
    assert writer.bytes_written == (tmp_path / "a.pghot").stat().st_size
    assert_same_slices(all_slices(open_recording(tmp_path / "a.pghot")), batch)


def test_the_caller_may_reuse_its_arrays(tmp_path: Path) -> None:
    batch = random_batch()
    expected = all_slices(MemoryTrace(INFO, 1536, REGIONS, [batch]))
    with RecordingWriter(tmp_path / "a.pghot", INFO, flush_slices=7) as writer:
        writer.append(batch, REGIONS)
        batch.touches[:] = 0
    assert_same_slices(all_slices(open_recording(tmp_path / "a.pghot")), expected)


def test_final_facts_replace_what_was_not_known_at_the_start(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "a.pghot", INFO) as writer:
        writer.append(random_batch(), REGIONS)
        writer.finish(threads=5, lost=23, exit_status=3, children_not_followed=["sh"])
    recording = open_recording(tmp_path / "a.pghot")
    assert (recording.info.threads, recording.info.lost) == (5, 23)
    assert recording.final["exit_status"] == 3
    assert recording.final["children_not_followed"] == ["sh"]


def test_a_command_that_is_not_utf8_survives(tmp_path: Path) -> None:
    info = replace(INFO, command=("cat", b"caf\xe9".decode(errors="surrogateescape")))
    write_recording(tmp_path / "a.pghot", random_trace(info=info))
    assert open_recording(tmp_path / "a.pghot").info.command == info.command


def test_a_trace_without_slices_keeps_its_regions(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.pghot", MemoryTrace(INFO, 1536, REGIONS, []))
    recording = open_recording(tmp_path / "a.pghot")
    assert recording.regions == REGIONS
    assert (recording.pages, recording.slices, recording.footprint_pages) == (1536, 0, 0)
    assert recording.complete
    assert list(recording.batches()) == []


def test_pieces_of_a_mapping_are_joined(tmp_path: Path) -> None:
    pieces = [Region(at, 1, 0, 0x1000 * (at + 23), "[heap]") for at in (2, 0, 1)]
    elsewhere = Region(3, 1, 0, 0x9000_0000, "[heap]")
    with RecordingWriter(tmp_path / "a.pghot", INFO) as writer:
        writer.append(random_batch(pages=4, rows=2), [*pieces, elsewhere])
    assert open_recording(tmp_path / "a.pghot").regions == (Region(0, 3, 0, 0x1000 * 23, "[heap]"), elsewhere)


def test_a_page_keeps_its_first_name(tmp_path: Path) -> None:
    anon, file = Region(2, 4, 0, 0x2000, "[anon]"), Region(0, 10, 0, 0, "/file")
    with RecordingWriter(tmp_path / "a.pghot", INFO) as writer:
        writer.append(random_batch(pages=10, rows=5), [anon, file])
    kept = open_recording(tmp_path / "a.pghot").regions
    assert kept == (Region(0, 2, 0, 0, "/file"), anon, Region(6, 4, 0, 0x6000, "/file"))


def test_any_arrow_program_can_read_a_recording(tmp_path: Path) -> None:
    batch = random_batch(slices=3)
    write_recording(tmp_path / "a.pghot", MemoryTrace(INFO, 1536, REGIONS, [batch]))
    with pa.ipc.open_stream(tmp_path / "a.pghot") as stream:
        table = stream.read_all()
    table.validate(full=True)
    assert table["start_ns"].to_pylist() == batch.start_ns.tolist()
    assert [len(rows) for rows in table["rows"].to_pylist()] == np.diff(batch.offsets).tolist()


def test_will_not_overwrite_without_force(tmp_path: Path) -> None:
    path = tmp_path / "a.pghot"
    path.write_text("precious")
    with pytest.raises(UsageError, match="will not overwrite") as caught:
        RecordingWriter(path, INFO)
    assert "--force" in caught.value.hint
    assert path.read_text() == "precious"
    write_recording(path, random_trace(), force=True)
    assert open_recording(path).complete


def test_force_leaves_the_old_file_to_whoever_reads_it(tmp_path: Path) -> None:
    old = random_trace(parts=3)
    write_recording(tmp_path / "a.pghot", old)
    reading = open_recording(tmp_path / "a.pghot")
    write_recording(tmp_path / "a.pghot", random_trace(), force=True)
    assert_same_slices(all_slices(reading), all_slices(old))


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot create .*No such file"):
        RecordingWriter(tmp_path / "no" / "a.pghot", INFO)


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("page", 0, "do not ascend"),
        ("misses", 2**32 - 1, "more misses than touches"),
        ("sequential", 2**32 - 1, "more sequential, strided and dependent"),
        ("writes", 2**32 - 1, "more writes"),
        ("node", 1, "a node that does not exist"),
        ("page", 2**32 - 1, "outside the dense index space"),
    ],
)
def test_rows_that_cannot_be_are_refused(tmp_path: Path, column: str, value: int, rule: str) -> None:
    batch = random_batch()
    getattr(batch, column)[5] = value
    writer = RecordingWriter(tmp_path / "a.pghot", INFO)
    writer.append(batch)
    with pytest.raises(PghotError, match=rule):
        writer.flush()


def test_an_exception_keeps_what_was_appended(tmp_path: Path) -> None:
    batch = random_batch()
    writer = RecordingWriter(tmp_path / "a.pghot", INFO)
    writer.__enter__()
    writer.append(batch, REGIONS)
    writer.__exit__(KeyError, KeyError(), None)
    recording = open_recording(tmp_path / "a.pghot")
    assert not recording.complete
    assert recording.dropped_bytes == 0
    assert recording.footprint_pages == len(np.unique(batch.page))
    assert_same_slices(all_slices(recording), batch)


def test_an_error_in_the_last_slices_does_not_hide_the_first_error(tmp_path: Path) -> None:
    """The program failed, and what it appended last is not valid: what was flushed before stays."""
    bad = random_batch(slices=3, seed=4)
    bad.touches[0] = 0
    writer = RecordingWriter(tmp_path / "a.pghot", INFO, flush_slices=7)
    writer.append(random_batch())
    writer.append(bad)
    writer.__exit__(KeyError, KeyError(), None)
    assert_same_slices(all_slices(open_recording(tmp_path / "a.pghot")), random_batch())
    writer.append(random_batch(slices=3, seed=5))
    with pytest.raises(PghotError, match="is closed"):
        writer.flush()


def test_of_regions_found_at_different_times_the_first_keeps_a_page(tmp_path: Path) -> None:
    """Pages 0 to 9 are named three times: in the first batch, in the second, and in the final facts."""
    with RecordingWriter(tmp_path / "a.pghot", INFO, flush_slices=7) as writer:
        writer.append(random_batch(pages=10, rows=5), [Region(4, 2, 0, 0x4000, "first")])
        writer.append(
            random_batch(pages=10, rows=5, seed=1), [Region(2, 6, 0, 0x2000, "second", site="f < g")]
        )
        writer.announce([Region(0, 10, 0, 0, "third")])
    named = [(region.first_page, region.pages, region.name) for region in open_recording(writer.path).regions]
    assert named == [(0, 2, "third"), (2, 2, "second"), (4, 2, "first"), (6, 2, "second"), (8, 2, "third")]
    assert open_recording(writer.path).regions[1].site == "f < g"


def test_uris_are_read_through_pyarrow(tmp_path: Path) -> None:
    trace = random_trace()
    write_recording(tmp_path / "a.pghot", trace)
    recording = open_recording((tmp_path / "a.pghot").as_uri())
    assert_same_slices(all_slices(recording), all_slices(trace))
    with pytest.raises(UsageError, match="no recording"):
        open_recording((tmp_path / "b.pghot").as_uri())
