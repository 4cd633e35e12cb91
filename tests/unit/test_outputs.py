"""Outputs are new files: whatever lies under their name, no other file is written."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from builders.recordings import INFO, REPLAYED, random_trace
from pghot.cli.main import run
from pghot.errors import PghotError, UsageError
from pghot.outputs import create, create_beside, take_name, write_bytes, written_whole
from pghot.recorder.slice_fit import write_joined
from pghot.recording.convert import convert
from pghot.recording.reader import open_recording
from pghot.recording.writer import RecordingWriter, write_recording


def a_recording(path: Path, force: bool) -> None:
    write_recording(path, random_trace(), force=force)


def a_source(path: Path) -> str:
    """A recording beside `path` that is replayed at once: what is written does not matter here.

    A curve wants ten slices and more, and a cache that is smaller than what it touches.
    """
    source = path.with_name("source.pghot")
    info = replace(INFO, llc_bytes=1 << 16, cache_bytes=(1 << 16,))
    write_recording(source, random_trace(slices=20, info=info, most_instructions=REPLAYED), force=True)
    return str(source)


def a_conversion(path: Path, force: bool) -> None:
    convert(a_source(path), path, force=force)


def joined_slices(path: Path, force: bool) -> None:
    """What `record --max-size` makes of a recording that is too long. It always replaces that."""
    if path.is_symlink() and not force:
        raise UsageError("refused")
    write_joined(open_recording(a_source(path)), path, 2)


def a_curve(path: Path, force: bool) -> None:
    curve = ["curve", a_source(path), "-o", str(path)]
    if run([*curve, "--force"] if force else curve) == 2:
        raise UsageError("refused")


def a_comparison(path: Path, force: bool) -> None:
    compare = [
        *["compare", a_source(path), "--policies", "none", "--duration", "one-pass", "--seeds", "1", "-o"],
        str(path),
    ]
    if run([*compare, "--force"] if force else compare) == 2:
        raise UsageError("refused")


WRITERS = [
    (a_recording, "x.pghot"),
    (a_conversion, "x.pghot"),
    (a_conversion, "x.parquet"),
    (joined_slices, "x.pghot"),
    (a_curve, "x.png"),
    (a_comparison, "x.html"),
    (a_comparison, "x.csv"),
    (a_comparison, "x.arrow"),
    (a_comparison, "x.parquet"),
]
writers = pytest.mark.parametrize(
    ("write", "name"), WRITERS, ids=[f"{write.__name__} {name}" for write, name in WRITERS]
)


@pytest.mark.heavy
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
@pytest.mark.parametrize(("write", "name"), WRITERS[:4])
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


def write(path: Path, force: bool = False) -> None:
    fd, part = create_beside(path)
    os.write(fd, b"new")
    os.close(fd)
    try:
        take_name(part, path, force)
    finally:
        part.unlink(missing_ok=True)


def test_a_link_that_leads_nowhere_makes_no_file_there(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="will not overwrite"):
        write(tmp_path / "x")
    write(tmp_path / "x", force=True)
    assert (tmp_path / "x").read_text() == "new"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("link", [True, False])
def test_what_comes_under_the_name_at_the_last_moment_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool, link: bool
) -> None:
    """A stranger's link, or the output of another pghot that was given the same name. FAT has no hard links."""

    def stranger() -> None:
        (tmp_path / "x").symlink_to(tmp_path / "precious") if link else (tmp_path / "x").write_text("theirs")

    def refuses(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    (tmp_path / "precious").write_text("precious")
    if not links:
        monkeypatch.setattr(os, "link", refuses)

    def mine() -> None:
        with written_whole(tmp_path / "x", False) as part:
            part.write_text("mine")
            stranger()

    with pytest.raises(UsageError, match="will not overwrite"):
        mine()
    assert (tmp_path / "x").is_symlink() == link
    assert (tmp_path / "x").read_text() == ("precious" if link else "theirs")
    (tmp_path / "x").unlink()
    write(tmp_path / "x")
    assert (tmp_path / "x").read_text() == "new"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["precious", "x"]


# ---- full disks


def limited(bytes_: int, script: str, *arguments: object) -> str:
    """What a Python script prints that can write no file of more than so many bytes."""
    head = f"""
    import resource, sys
    sys.path.insert(0, {str(Path(__file__).parents[1])!r})
    from pathlib import Path
    from builders.recordings import INFO, REGIONS, random_batch
    from pghot.cli.main import run
    from pghot.errors import PghotError
    from pghot.recording.writer import RecordingWriter
    resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes_}, {bytes_}))
    path = Path(sys.argv[1])
    """
    code = textwrap.dedent(head) + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("force", [False, True])
def test_a_recording_whose_first_batch_has_no_room_is_none_and_the_former_one_stays(
    tmp_path: Path, force: bool
) -> None:
    path = tmp_path / "x.pghot"
    if force:
        path.write_text("former")
    said = limited(
        1000,
        """
        try:
            with RecordingWriter(path, INFO, force=path.exists()) as writer:
                writer.append(random_batch(rows=500), REGIONS)
        except PghotError as error:
            print(error)
        """,
        path,
    )
    assert said == f"cannot write {path}: File too large\n"
    assert [each.read_text() for each in tmp_path.iterdir()] == (["former"] if force else [])


def test_a_recording_has_its_name_from_its_first_batch_on(tmp_path: Path) -> None:
    path = tmp_path / "x.pghot"
    path.write_text("former")
    with RecordingWriter(path, random_trace().info, force=True) as writer:
        assert path.read_text() == "former"
        writer.append(next(iter(random_trace().batches())))
        writer.flush()
        assert open_recording(path).slices > 0
    assert [each.name for each in tmp_path.iterdir()] == ["x.pghot"]


def test_a_recording_that_fails_before_anything_is_in_it_leaves_nothing(tmp_path: Path) -> None:
    def fails() -> None:
        with RecordingWriter(tmp_path / "x.pghot", random_trace().info):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["x.html", "x.png", "y.parquet", "y.pghot"])
def test_a_full_disk_leaves_no_half_output(tmp_path: Path, name: str) -> None:
    """y is a conversion, the others are reports."""
    path = tmp_path / name
    source = a_source(path)
    path.write_text("former")
    commands = {
        "x": ["compare", source, "--policies", "none", "--duration", "one-pass", "--seeds", "1", "-o"],
        "y": ["convert", source],
    }
    command = ["curve", source, "-o"] if name == "x.png" else commands[name[0]]
    words = [*command, str(path), "--force"]
    # The limit comes with the output: before, Numba keeps what it compiles.
    script = f"""
    from pghot import outputs
    create = outputs.create
    def full(*how, **more):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        return create(*how, **more)
    outputs.create = full
    print(run({words!r}))
    """
    said = limited(resource.RLIM_INFINITY, script, path)
    assert said.splitlines()[0] == "1", said
    assert f"pghot: error: cannot write {path}: File too large" in said
    assert "make room there" in said
    assert path.read_text() == "former"
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["source.pghot", name])


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
