"""What others may have written, or may exchange, is not believed: journals, caches, configurations, temporary files.

pghot often runs as root, through a HOME that it inherited.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builders.live_loop import BOOT_ID
from builders.machine_trees import put
from pghot import numba_cache, trusted
from pghot.cli.main import run
from pghot.daemon import config, listening
from pghot.errors import PghotError, UsageError
from pghot.kernel import sysroot
from pghot.kernel.damon_sysfs import NUMBER, state_of
from pghot.kernel.knob_files import DEMOTION_ENABLED, NUMA_BALANCING, PROMOTE_RATE_LIMIT, SCAN, check_knob
from pghot.kernel.sysroot import SysRoot
from pghot.live import run as service_run
from pghot.live.journal_file import FORMAT
from pghot.live.knobs import Knobs
from pghot.recorder import build
from pghot.sealed import seal
from pghot.trusted import distrust, private_directory, temporary_place

CORE_PATTERN = "/proc/sys/kernel/core_pattern"
STRANGER = 54321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make files of another user")


def give_away(path: Path) -> None:
    os.chown(path, STRANGER, STRANGER, follow_symlinks=False)


def open_to_all(path: Path) -> None:
    path.chmod(0o777)


def open_to_group(path: Path) -> None:
    path.chmod(0o775)


spoilt = pytest.mark.parametrize(
    "spoil", [pytest.param(give_away, marks=needs_root), open_to_all, open_to_group]
)


# ---- journals


def hostile(tmp_path: Path, knob: str, old: object, new: object) -> Path:
    """A journal that is right in everything but what it wants written, in a tree in which the knob is `new`."""
    put(tmp_path, "proc/sys/kernel/random/boot_id", BOOT_ID)
    common = {"format": FORMAT, "boot_id": BOOT_ID, "writer": [1 << 22, 1]}
    lines = ({"kind": "journal"}, {"kind": "knob", "path": knob, "old": old, "new": new})
    path = tmp_path / "j"
    path.write_text("".join(f"{seal(line | common)}\n" for line in lines))
    path.chmod(0o600)
    return path


def undo_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Path) -> int:
    real = sysroot.SysRoot
    monkeypatch.setattr(sysroot, "SysRoot", lambda: real(tmp_path))
    return run(["undo", str(path)])


def test_a_journal_of_ours_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the others differ from."""
    put(tmp_path, NUMA_BALANCING, "2")
    assert undo_in(tmp_path, monkeypatch, hostile(tmp_path, NUMA_BALANCING, "1", "2")) == 0
    assert SysRoot(tmp_path).read(NUMA_BALANCING) == "1"


@pytest.mark.parametrize(
    ("knob", "old", "new"),
    [
        (CORE_PATTERN, "|/tmp/evil", "core"),
        ("/proc/sys/kernel/modprobe", "/tmp/evil", "/sbin/modprobe"),
        ("/sys/kernel/uevent_helper", "/tmp/evil", ""),
        (f"{SCAN}/../../../../../proc/sys/kernel/core_pattern", "|/tmp/evil", "core"),
        (f"/proc/self/root{NUMA_BALANCING}", "1", "2"),
        (f"{NUMA_BALANCING}\n", "1", "2"),
        (f"/{NUMA_BALANCING}", "1", "2"),
        (NUMA_BALANCING, "1\n", "2"),
        (NUMA_BALANCING, "1" * 100_000, "2"),
        (NUMA_BALANCING, "some words", "2"),
        (NUMA_BALANCING, "", "2"),
        (NUMA_BALANCING, "\u0661", "2"),
        (NUMA_BALANCING, 1, "2"),
        (f"{SCAN}/scan_size_mb", "0", "256"),
        (f"{SCAN}/scan_size_mb", "16777216", "256"),  # 2^24 MiB are 2^32 pages: 0 to the kernel
        (DEMOTION_ENABLED, "on", "true"),
    ],
)
def test_undo_writes_no_knob_that_pghot_does_not_set_and_no_value_that_it_cannot_have(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    knob: str,
    old: object,
    new: str,
) -> None:
    root = SysRoot(tmp_path)
    put(tmp_path, CORE_PATTERN, "core")
    root.path(SCAN).mkdir(parents=True)
    if knob != f"{SCAN}/../../../../../proc/sys/kernel/core_pattern":
        put(tmp_path, knob, new)
    before = root.read(knob)
    assert undo_in(tmp_path, monkeypatch, hostile(tmp_path, knob, old, new)) == 1
    assert root.read(knob) == before
    assert root.read(CORE_PATTERN) == "core"
    assert "line 2 of the journal cannot be read" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("whole", [False, True])
def test_undo_follows_no_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], whole: bool
) -> None:
    """The file, or a directory on the way."""
    root = SysRoot(tmp_path)
    put(tmp_path, "elsewhere/numa_balancing", "2")
    path = hostile(tmp_path, NUMA_BALANCING, "1", "2")
    link, target = root.path(NUMA_BALANCING), tmp_path / "elsewhere/numa_balancing"
    if whole:
        (tmp_path / "proc/sys/kernel/random").rename(tmp_path / "elsewhere/random")
        link.parent.rmdir()
        link, target = link.parent, target.parent
    link.symlink_to(target)
    assert undo_in(tmp_path, monkeypatch, path) == 1
    assert (tmp_path / "elsewhere/numa_balancing").read_text() == "2\n"
    assert "could not be put back" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_journal_that_others_may_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mode: int
) -> None:
    put(tmp_path, NUMA_BALANCING, "2")
    path = hostile(tmp_path, NUMA_BALANCING, "1", "2")
    path.chmod(mode)
    assert undo_in(tmp_path, monkeypatch, path) == 2
    assert SysRoot(tmp_path).read(NUMA_BALANCING) == "2"
    assert f"others may write to the journal {path} (mode {mode:04o})" in capsys.readouterr().err


@needs_root
def test_a_journal_of_another_user_is_refused_without_a_way_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, NUMA_BALANCING, "2")
    path = hostile(tmp_path, NUMA_BALANCING, "1", "2")
    give_away(path)
    assert undo_in(tmp_path, monkeypatch, path) == 2
    assert SysRoot(tmp_path).read(NUMA_BALANCING) == "2"
    told = capsys.readouterr().err
    assert f"sudo -u '#{STRANGER}' pghot undo {path}" in told
    assert "cp " not in told


@pytest.mark.parametrize(
    ("knob", "before", "value"),
    [(CORE_PATTERN, "core", "|x"), (NUMA_BALANCING, "1", "many"), (NUMA_BALANCING, "what?", "2")],
)
def test_nothing_is_set_that_undo_would_refuse(tmp_path: Path, knob: str, before: str, value: str) -> None:
    """Sources of other packages set knobs by the same call."""
    put(tmp_path, knob, before)
    with pytest.raises(PghotError, match="could not be put back"):
        Knobs(SysRoot(tmp_path), None).set(knob, value)
    assert SysRoot(tmp_path).read(knob) == before


@pytest.mark.parametrize(
    ("knob", "values"),
    [
        (NUMA_BALANCING, ("0", "1", "2", "3")),
        (PROMOTE_RATE_LIMIT, ("65536", "0")),
        (f"{SCAN}/scan_size_mb", ("256", "65536")),
        (f"{SCAN}/scan_period_min_ms", ("1000", "200", "12800")),
        (f"{SCAN}/scan_period_max_ms", ("60000", "200", "12800")),
        (DEMOTION_ENABLED, ("false", "true")),
        (NUMBER, ("0", "1", "2")),
        (state_of(0), ("off", "on")),
        (state_of(11), ("off", "on")),
    ],
)
def test_what_pghot_sets_and_finds_is_on_the_list(knob: str, values: tuple[str, ...]) -> None:
    check_knob(knob, *values)


@spoilt
def test_a_place_for_journals_that_others_can_change_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(service_run, "runtime_place", lambda root: tmp_path / "pghot")
    (tmp_path / "pghot").mkdir()
    service_run.journal_path(None, "run")
    spoil(tmp_path / "pghot")
    with pytest.raises(UsageError, match=r"no place for a journal: ") as told:
        service_run.journal_path(None, "run")
    assert "--journal" in told.value.hint


# ---- directories


@spoilt
@pytest.mark.parametrize("above", [False, True])
def test_a_directory_that_others_can_change_or_exchange(
    tmp_path: Path, spoil: Callable[[Path], None], above: bool
) -> None:
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    assert distrust(place) == ""
    spoil(tmp_path / "a" if above else place)
    assert str(tmp_path / "a") in distrust(place)
    assert private_directory(place) == distrust(place)


@needs_root
def test_nothing_is_made_in_the_directory_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    give_away(tmp_path / "home")
    assert "belongs to another user" in private_directory(tmp_path / "home/.cache/pghot")
    assert list((tmp_path / "home").iterdir()) == []


def test_only_what_is_ours_in_a_sticky_directory(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    assert private_directory(tmp_path / "tmp/mine") == ""
    assert "others may write" in distrust(tmp_path / "tmp")
    assert distrust(tmp_path / "tmp", within=True) == ""


@needs_root
def test_a_link_of_somebody_else_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    assert distrust(tmp_path / "link") == ""
    give_away(tmp_path / "link")
    assert f"{tmp_path / 'link'} belongs to another user" in distrust(tmp_path / "link")


def test_where_a_link_leads_counts(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "open")
    open_to_all(tmp_path / "open")
    assert f"others may write to {tmp_path / 'open'}" in distrust(tmp_path / "link")


def test_what_is_made_is_not_open_to_others_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert private_directory(tmp_path / "a/b/c") == ""
    finally:
        os.umask(before)


def test_a_group_of_the_user_alone_may_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with umask 002, which comes with such groups. Others in the group are others."""

    def entry(members: list[str]) -> str:
        monkeypatch.setattr(trusted.grp, "getgrgid", lambda gid: group("alice", members))
        return trusted.distrust_entry("x", os.stat_result((0o040775, 0, 0, 0, 1000, 1000, 0, 0, 0, 0)))

    def group(name: str, members: list[str]) -> Any:
        return type("Group", (), {"gr_name": name, "gr_mem": members})

    monkeypatch.setattr(trusted.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(trusted.pwd, "getpwuid", lambda uid: type("User", (), {"pw_name": "alice"}))
    assert entry([]) == entry(["alice"]) == ""
    assert "others may write" in entry(["bob"])


# ---- caches


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The cache of plugins, with one that nobody has changed, and a compiler that needs no qemu."""

    def compile_(sources: object, path: Path, api: int) -> None:
        path.unlink(missing_ok=True)
        path.write_text("compiled")
        path.chmod(0o600)

    monkeypatch.setattr(build, "compile_plugin", compile_)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    build.plugin_path(build.Emulator("qemu", (7, 2)))
    return tmp_path / "cache" / "pghot"


def plugin_text() -> str:
    return build.plugin_path(build.Emulator("qemu", (7, 2))).read_text()


@spoilt
@pytest.mark.parametrize("what", [".", "..", "plugin"])
def test_a_plugin_that_somebody_else_may_have_put_there_is_not_used(
    compiled: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None], what: str
) -> None:
    (plugin,) = compiled.iterdir()
    plugin.write_text("evil, but ours")
    assert plugin_text() == "evil, but ours"
    spoil(plugin if what == "plugin" else (compiled / what).resolve())
    assert plugin_text() == "compiled"
    assert ("is not used" in capsys.readouterr().err) == (what != "plugin")


def test_a_plugin_that_is_a_link_is_not_used(compiled: Path, tmp_path: Path) -> None:
    (plugin,) = compiled.iterdir()
    plugin.rename(tmp_path / "evil")
    (tmp_path / "evil").write_text("evil")
    plugin.symlink_to(tmp_path / "evil")
    assert plugin_text() == "compiled"


@spoilt
@pytest.mark.parametrize("what", ["", "module", "module/kernel.nbi"])
def test_kernels_that_somebody_else_may_have_put_there_are_not_used(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    what: str,
) -> None:
    cache = tmp_path / "numba"
    (cache / "module").mkdir(parents=True)
    (cache / "module/kernel.nbi").write_text("a pickle")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    numba_cache.ensure_cache()
    assert os.environ["NUMBA_CACHE_DIR"] == str(cache)
    spoil(cache / what)
    numba_cache.ensure_cache()
    assert os.environ["NUMBA_CACHE_DIR"] != str(cache)
    assert list(Path(os.environ["NUMBA_CACHE_DIR"]).iterdir()) == []
    assert f"note: the cache {cache} is not used: " in capsys.readouterr().err


@spoilt
def test_an_inherited_home_is_no_cache_of_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None]
) -> None:
    """Of a package that cannot keep them beside itself."""
    monkeypatch.setattr(numba_cache, "_writable", lambda path: path.name != "__pycache__")
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".cache").mkdir()
    spoil(tmp_path / ".cache")
    numba_cache.ensure_cache()
    assert not os.environ["NUMBA_CACHE_DIR"].startswith(str(tmp_path / ".cache"))


# ---- temporary files, sockets, configurations


@spoilt
def test_temporary_files_are_not_made_where_others_exchange_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(trusted.tempfile, "tempdir", str(tmp_path))
    assert temporary_place() == str(tmp_path)
    spoil(tmp_path)
    assert temporary_place() == "/tmp"


def test_a_link_in_the_place_of_the_socket_changes_no_other_file(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.touch(0o600)
    (tmp_path / "s").symlink_to(precious)
    with pytest.raises((OSError, UsageError)):
        listening._give_to(tmp_path / "s", "root", os.getgid())
    assert precious.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "real"))
        listening._give_to(tmp_path / "real", "root", os.getgid())
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o660


@spoilt
@pytest.mark.parametrize("above", [False, True])
def test_a_configuration_that_others_may_write_is_not_used(
    tmp_path: Path, spoil: Callable[[Path], None], above: bool
) -> None:
    path = tmp_path / "etc" / "pghot.toml"
    path.parent.mkdir()
    path.write_text("[targets]\npids = [1]\n")
    assert config.load_config(path).targets.pids == (1,)
    spoil(path.parent if above else path)
    with pytest.raises(UsageError, match="is not used: ") as told:
        config.load_config(path)
    assert "/etc/pghot" in told.value.hint
