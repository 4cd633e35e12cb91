"""Recordings from Python: opened as the command line opens them, made as it makes them, and shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import pghot
from builders.foreign import damo_records
from builders.record_programs import needs_qemu
from builders.small_recordings import recorded
from pghot.recording.trace import Region
from pghot.units import PAGE_BYTES


@pytest.fixture
def recording(tmp_path: Path) -> pghot.Recording:
    """Four pages of the heap take 3 + 1 misses, one of a library 12."""
    regions = [Region(0, 4, 0, 0x1000, "[heap]"), Region(4, 1, 0, 0x9000, "/usr/lib/<libc>.so")]
    slices = [{(0, 0): (30, 3, 2)}, {(1, 0): (1, 1, 0), (4, 0): (40, 12, 0)}]
    recorded(tmp_path / "demo.pghot", slices, regions)
    return pghot.open(tmp_path / "demo.pghot")


def test_a_recording_tells_what_it_is_in_a_line(recording: pghot.Recording) -> None:
    # Two slices of 1 ms; three pages were touched: 12 KiB.
    said = "demo: 2.00 ms in 2 slices, footprint 12.0 KiB, 16 misses, verified"
    assert repr(recording) == f"<Recording {said}>"


def test_it_prints_as_a_table_without_being_read(
    recording: pghot.Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "batches", lambda **_: pytest.fail("it was read"))
    lines = str(recording).splitlines()
    assert lines[0].split() == ["recording", "demo"]
    assert "command            redis-server --port 0" in lines
    assert "touches            71" in lines  # 30 + 1 + 40
    assert "misses of 1.0 MiB  16" in lines
    shown = recording._repr_html_()
    assert "<td>touches</td><td>71</td>" in shown
    assert "<td>note</td><td>a note</td>" in shown


def test_its_table_has_the_regions_most_misses_first(recording: pghot.Recording) -> None:
    rows = recording.table().rows
    assert [row[0] for row in rows] == ["/usr/lib/<libc>.so", "[heap]"]
    assert rows[0][1:] == ("4.00 KiB", "12", "75.0 %", "0")  # 12 of 16
    assert rows[1][1:] == ("8.00 KiB", "4", "25.0 %", "2")
    assert "/usr/lib/&lt;libc&gt;.so" in recording.table()._repr_html_()
    assert repr(recording.table()).splitlines()[1] == "/usr/lib/<libc>.so  4.00 KiB      12  75.0 %       0"


def test_its_picture_is_shown_and_saved(recording: pghot.Recording, tmp_path: Path) -> None:
    picture = recording.plot("touches", rows=4, columns=2)
    assert repr(picture) == "<Picture of the touches of demo; save(FILE) writes .png, .svg or .pdf>"
    assert picture._repr_png_().startswith(b"\x89PNG")
    picture.save(tmp_path / "heat.svg")
    assert (tmp_path / "heat.svg").read_text().startswith("<?xml")
    with pytest.raises(pghot.PghotError, match="will not overwrite"):
        picture.save(tmp_path / "heat.svg")
    with pytest.raises(pghot.PghotError, match="unknown format"):
        picture.save(tmp_path / "heat.bmp")


def test_what_a_picture_cannot_be_of_is_refused(recording: pghot.Recording) -> None:
    with pytest.raises(pghot.PghotError, match="unknown measure 'reads'"):
        recording.plot("reads")
    with pytest.raises(pghot.PghotError, match=r"plot\.rows is 0"):
        recording.plot(rows=0)


def test_files_of_other_tools_and_bundled_names_open_as_on_the_command_line(tmp_path: Path) -> None:
    regions = [(0x1000, 0x3000, 5), (0x3000, 0x4000, 0)]
    snapshots = [(number * 100_000_000, regions) for number in range(1, 4)]
    (tmp_path / "damon.json").write_text(json.dumps(damo_records([snapshots])))
    opened = pghot.open(tmp_path / "damon.json")
    assert isinstance(opened, pghot.Recording)
    assert opened.info.source == "import"
    assert opened.footprint_pages * PAGE_BYTES == 0x3000 - 0x1000
    assert pghot.open("bundled:redis-zipf").compressibility is not None  # its samples lie elsewhere
    with pytest.raises(pghot.PghotError) as caught:
        pghot.open("bundled:redis")
    assert "did you mean 'redis-zipf'?" in caught.value.hint


def test_an_error_shows_in_a_notebook_as_on_the_command_line() -> None:
    with pytest.raises(pghot.PghotError) as caught:
        pghot.open("no\nfile.pghot")
    first, second = caught.value._render_traceback_()
    assert first.startswith("pghot: error: ")
    assert "no\\nfile.pghot" in first
    assert second.startswith("hint: ")
    assert pghot.PghotError("alone")._render_traceback_() == ["pghot: error: alone"]


@needs_qemu
def test_a_command_is_recorded(tmp_path: Path) -> None:
    made = pghot.record(
        tmp_path / "true.pghot", "true 'a b'", cache_bytes=["64 KiB", 1 << 20], slice_ns="1 ms", notes="mine"
    )
    assert made.info.command == ("true", "a b")
    assert made.info.cache_bytes == (64 << 10, 1 << 20)
    assert made.info.slice_ns == 1_000_000
    assert made.info.notes == ("mine",)
    assert "<Recording true: " in repr(made)
    with pytest.raises(pghot.PghotError, match="died at once: exit status 1"):
        pghot.record(tmp_path / "false.pghot", ["false"])


@pytest.mark.parametrize(
    ("path", "command", "settings", "message"),
    [
        ("a.pghot", "", {}, "no command to record"),
        ("a.txt", "true", {}, "'a.txt' does not name a recording"),
        ("a.pghot", "true", {"llc": "1 MiB"}, "unknown option of 'record' 'llc'"),
        ("a.pghot", "true", {"cache_bytes": "much"}, "'much' is not a size"),
        ("a.pghot", "true", {"llc_ways": "many"}, "record.llc_ways is 'many', which is not a whole number"),
        ("a.pghot", "true", {"max_duration_s": "long"}, "'long' is not a duration"),
    ],
)
def test_what_cannot_be_recorded_is_refused(
    path: str, command: str, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(pghot.PghotError) as caught:
        pghot.record(path, command, **settings)
    assert str(caught.value) == message
    assert caught.value.hint
