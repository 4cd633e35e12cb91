"""Races, links and mounts: what is checked is what is used, however others exchange it meanwhile."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from builders.machine_trees import put
from pghot.errors import PghotError, UsageError
from pghot.kernel.fuse import served_by
from pghot.kernel.regular_file import open_regular
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import FileIdentity, MappedFile
from pghot.live import journal_file, undo_files
from pghot.live.journal import Journal, mark_undone
from pghot.live.journal_file import held_journal, read_journal
from pghot.live.undo import undo_open
from pghot.recorder.programs import resolve
from pghot.trusted import distrust

STRANGER = 54321
KNOB = "/proc/sys/kernel/ostype"  # nobody can write it, so that no fault of a test can
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def _may_mount() -> bool:
    unshare = shutil.which("unshare")
    return unshare is not None and subprocess.run([unshare, "-m", "true"], check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not _may_mount(), reason="needs unshare(1) and the right to mount")


def in_mounts(script: str, *arguments: object) -> str:
    """What a Python script prints in a mount namespace of its own. `mount(...)` is mount(8) with these words."""
    head = """
    import subprocess, sys
    from pathlib import Path
    def mount(*words):
        subprocess.run(["mount", *words], check=True)
    """
    code = textwrap.dedent(head) + textwrap.dedent(script)
    command = ["unshare", "-m", "--propagation", "private", sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- knobs


@needs_mounts
@pytest.mark.parametrize("whole", [False, True])
def test_a_file_that_is_mounted_over_a_knob_is_not_written(tmp_path: Path, whole: bool) -> None:
    """Or over its directory. It is one that this user may write."""
    (tmp_path / "ostype").write_text("precious")
    said = in_mounts(
        """
        from pghot.kernel.sysroot import SysRoot
        source, target = sys.argv[1:]
        mount("--bind", source, target)
        try:
            SysRoot().write("/proc/sys/kernel/ostype", "x")
        except OSError as error:
            print(error.strerror)
        """,
        tmp_path if whole else tmp_path / "ostype",
        Path(KNOB).parent if whole else KNOB,
    )
    assert said == "another file is mounted over it\n"
    assert (tmp_path / "ostype").read_text() == "precious"


@needs_mounts
def test_another_file_of_the_kernel_that_is_mounted_over_a_knob_is_not_written() -> None:
    """It is a file system of the kernel's, and may be written: the program's own name."""
    said = in_mounts(
        """
        from pghot.kernel.sysroot import SysRoot
        mount("--bind", "/proc/self/comm".replace("self", str(__import__("os").getpid())), sys.argv[1])
        before = Path("/proc/self/comm").read_text()
        try:
            SysRoot().write("/proc/sys/kernel/ostype", "x")
        except OSError as error:
            print(error.strerror, Path("/proc/self/comm").read_text() == before)
        """,
        KNOB,
    )
    assert said == "another file is mounted over it True\n"


@needs_root
def test_a_file_of_the_kernel_is_written() -> None:
    """What the others differ from: the name of this very thread."""
    tid = Path("/proc/thread-self").readlink()
    before = SysRoot().read(f"/proc/{tid}/comm")
    SysRoot().write(f"/proc/{tid}/comm", "pghot-test")
    try:
        assert SysRoot().read(f"/proc/{tid}/comm") == "pghot-test"
    finally:
        SysRoot().write(f"/proc/{tid}/comm", before)


# ---- journals


def test_while_a_journal_is_undone_no_other_file_gets_its_inode(tmp_path: Path) -> None:
    """Who owns its directory removes it, and lays a link under its name to a file that root has just made. With the
    number of its inode that file would be marked as undone."""
    Journal(tmp_path / "j", SysRoot(tmp_path)).close()
    with Journal(tmp_path / "j", SysRoot(tmp_path)) as journal:
        journal.knob("/proc/sys/kernel/numa_balancing", "0", "1")
    with held_journal(tmp_path / "j") as read:
        (tmp_path / "j").unlink()
        for number in range(64):
            (tmp_path / f"of root {number}").touch()
            assert (tmp_path / f"of root {number}").stat().st_ino != read.file[1]
        (tmp_path / "j").symlink_to("of root 0")
        with pytest.raises(PghotError, match="is another file than the one that was read"):
            mark_undone(tmp_path / "j", read.file)
    assert {path.stat().st_size for path in tmp_path.glob("of root*")} == {0}


@pytest.mark.parametrize(
    ("options", "user"),
    [
        ("rw,user_id=1000,group_id=1000,allow_other", 1000),
        ("rw,user_id=0,group_id=0", 0),
        ("rw,seclabel", None),
    ],
)
def test_who_serves_a_file_system(tmp_path: Path, options: str, user: int | None) -> None:
    put(
        tmp_path,
        "proc/self/mountinfo",
        "21 28 0:20 / /proc rw shared:5 - proc proc rw\n"
        f"90 28 0:61 / /home/m/mnt rw,nosuid shared:99 - fuse.m m {options}\n"
        "91 28 0:62 / /mnt rw - fuse n rw,user_id=7,group_id=7",
    )
    root = SysRoot(tmp_path)
    assert served_by(root, os.makedev(0, 61)) == user
    assert served_by(root, os.makedev(0, 62)) == 7
    assert served_by(root, os.makedev(0, 20)) is served_by(root, os.makedev(0, 6)) is None


@pytest.mark.parametrize(("user", "believed"), [(STRANGER, False), (0, True), (None, True)])
def test_a_journal_that_another_users_file_system_says_is_roots_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int | None, believed: bool
) -> None:
    with Journal(tmp_path / "j", SysRoot(tmp_path)) as journal:
        journal.knob("/proc/sys/kernel/numa_balancing", "0", "1")
    monkeypatch.setattr(journal_file, "served_by", lambda root, device: user)
    if believed:
        assert read_journal(tmp_path / "j").knobs
        return
    with pytest.raises(UsageError, match=f"that another user serves .uid {STRANGER}"):
        read_journal(tmp_path / "j")


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_is_not_even_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Opening a tape rewinds it, and opening a pipe lets its writer go on."""
    path = Path("/dev/zero") if kind == "device" else tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        import socket

        socket.socket(socket.AF_UNIX).bind(str(path))
    opened, flags_of = os.open, []

    def spied(path: object, flags: int, *how: object, **more: object) -> int:
        flags_of.append(flags)
        return opened(path, flags, *how, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", spied)
    with pytest.raises(UsageError, match="not a regular file"):
        read_journal(path)
    assert flags_of
    assert all(flags & os.O_PATH for flags in flags_of)


def test_a_pipe_that_may_be_executed_is_no_program(tmp_path: Path) -> None:
    """Reading its head would wait for a writer forever."""
    os.mkfifo(tmp_path / "program", 0o755)
    with pytest.raises(UsageError, match="not a regular file"):
        resolve([str(tmp_path / "program")])


def test_what_is_exchanged_between_the_look_and_the_opening_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very file that was looked at is opened."""
    (tmp_path / "x").write_text("mine")
    (tmp_path / "y").write_text("another's")
    found = os.fstat

    def then_exchanged(fd: int) -> os.stat_result:
        (tmp_path / "y").replace(tmp_path / "x") if (tmp_path / "y").exists() else None
        return found(fd)

    monkeypatch.setattr(os, "fstat", then_exchanged)
    with open(open_regular(tmp_path / "x")) as file:
        assert file.read() == "mine"
    assert (tmp_path / "x").read_text() == "another's"


def test_a_file_that_took_the_place_of_a_mapped_one_keeps_its_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program maps another file at the same addresses, after undo has asked which program maps it."""
    root = SysRoot()
    mine, other = os.memfd_create("mine"), os.memfd_create("other")
    for fd in (mine, other):
        os.write(fd, bytes(8 * 4096))
    identity = FileIdentity(1, os.fstat(mine).st_ino, 0)
    place = undo_files.Mapped(os.getpid(), 4096, 9 * 4096, 0, 1)
    monkeypatch.setattr(undo_files, "find_mapped", lambda root, files: {identity: [place]})
    monkeypatch.setattr(undo_files, "_is_hugetlb", lambda systems, place: False)
    monkeypatch.setattr(undo_files, "query_nodes", lambda pid, address: np.zeros(len(address), np.int32))
    found = {}
    for name, fd in (("mine", mine), ("other", other)):
        monkeypatch.setattr(undo_files, "open_mapped", lambda *_, fd=fd: os.dup(fd))
        with Journal(tmp_path / name, root) as journal:
            pages = np.arange(8, dtype=np.uint64) << np.uint64(12)
            journal.origins(MappedFile(1, identity, "/memfd:mine"), pages, np.zeros(8, np.uint8))
            done = undo_open(journal, root)
        found[name] = (done.pages_home, done.files_gone)
    assert found == {"mine": (8, []), "other": (0, ["/memfd:mine"])}
    os.close(mine)
    os.close(other)


# ---- places


@needs_root
@pytest.mark.parametrize("within", [True, False])
def test_each_link_on_the_way_counts_and_not_only_where_all_of_them_lead(
    tmp_path: Path, within: bool
) -> None:
    """Root's link leads through a link in a stranger's directory, who may turn it elsewhere."""
    for name in ("safe", "theirs", "mine"):
        (tmp_path / name).mkdir()
    (tmp_path / "theirs/link").symlink_to(tmp_path / "safe")
    (tmp_path / "mine/link").symlink_to(tmp_path / "theirs/link")
    assert distrust(tmp_path / "mine/link", within) == ""
    os.chown(tmp_path / "theirs", STRANGER, STRANGER)
    assert f"{tmp_path / 'theirs'} belongs to another user" in distrust(tmp_path / "mine/link", within)
    assert "theirs" in distrust(tmp_path / "theirs/../safe", within)


def test_links_that_lead_round_are_an_error_and_no_hang(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        distrust(tmp_path / "a")


def test_a_link_to_an_open_directory_is_as_open(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    (tmp_path / "open/here").symlink_to(".")
    assert "others may write" in distrust(tmp_path / "open/here")
    assert distrust(tmp_path / "open/here", within=True) == ""
