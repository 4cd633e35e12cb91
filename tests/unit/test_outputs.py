"""Outputs are new files: whatever lies under their name, no other file is written."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from builders.recordings import random_trace
from pghot.cli.main import run
from pghot.errors import PghotError, UsageError
from pghot.outputs import create, write_bytes, written_whole
from pghot.recording.convert import convert
from pghot.recording.writer import write_recording


def a_recording(path: Path, force: bool) -> None:
    write_recording(path, random_trace(), force=force)


def a_conversion(path: Path, force: bool) -> None:
    source = path.with_name("source.pghot")
    write_recording(source, random_trace(), force=True)
    convert(source, path, force=force)


def a_comparison(path: Path, force: bool) -> None:
    compare = [
        *["compare", "workload:gups", "--policies", "none", "--duration", "one-pass", "--seeds", "1", "-o"],
        str(path),
    ]
    if run([*compare, "--force"] if force else compare) == 2:
        raise UsageError("refused")


WRITERS = [
    (a_recording, "x.pghot"),
    (a_conversion, "x.pghot"),
    (a_conversion, "x.parquet"),
    (a_comparison, "x.html"),
    (a_comparison, "x.csv"),
    (a_comparison, "x.arrow"),
    (a_comparison, "x.parquet"),
]
writers = pytest.mark.parametrize(
    ("write", "name"), WRITERS, ids=[f"{write.__name__} {name}" for write, name in WRITERS]
)


@writers
def test_a_link_is_replaced_and_what_it_leads_to_is_not_written(
    tmp_path: Path, write: Callable[[Path, bool], None], name: str
) -> None:
    precious, path = tmp_path / "precious", tmp_path / name
    precious.write_text("precious")
    path.symlink_to(precious)
    with pytest.raises(UsageError):
        write(path, False)
    assert path.is_symlink()
    write(path, True)
    assert precious.read_text() == "precious"
    assert path.is_file()
    assert not path.is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(("write", "name"), WRITERS[:3])
def test_what_root_records_is_for_root_alone(
    tmp_path: Path, write: Callable[[Path, bool], None], name: str
) -> None:
    write(tmp_path / name, False)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_others_make_theirs_with_their_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    before = os.umask(0o027)
    try:
        os.close(create(tmp_path / "x", private=True))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_a_link_that_leads_nowhere_makes_no_file_there(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="will not overwrite"):
        create(tmp_path / "x")
    os.close(create(tmp_path / "x", force=True))
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("force", [False, True])
def test_what_comes_under_the_name_at_the_last_moment_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    (tmp_path / "precious").write_text("precious")
    opened = os.open

    def after_a_stranger(path: Path, *how: int) -> int:
        path.symlink_to(tmp_path / "precious")
        return opened(path, *how)

    monkeypatch.setattr(os, "open", after_a_stranger)
    with pytest.raises(UsageError, match="will not overwrite"):
        create(tmp_path / "x", force)
    assert (tmp_path / "precious").read_text() == "precious"


def test_an_output_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def cut_short() -> None:
        with written_whole(tmp_path / "x", False) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_short()
    assert list(tmp_path.iterdir()) == []
    write_bytes(tmp_path / "x", b"all", False)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["all"]


def test_a_device_or_a_directory_is_not_replaced(tmp_path: Path) -> None:
    for path in (Path("/dev/null"), tmp_path):
        with pytest.raises(UsageError, match="is not a regular file"):
            write_bytes(path, b"", True)


def test_a_directory_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(PghotError, match=r"cannot write .*No such file"):
        write_bytes(tmp_path / "no" / "x", b"", False)
