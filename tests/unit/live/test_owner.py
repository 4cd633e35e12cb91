"""One pghot at a time changes a machine; its lock goes with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from builders.live_loop import START, FakeKernel, Scripted, install, maps_line, register
from pghot.cli.main import run
from pghot.errors import PghotError, UsageError
from pghot.kernel.knob_files import NUMA_BALANCING
from pghot.kernel.sysroot import SysRoot
from pghot.live.journal import Journal
from pghot.live.live_settings import LiveSettings, with_damos
from pghot.live.loop import Live
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.owner import FILE, Owner, changes_machine, owned
from pghot.live.record_live import RecordingPlan, record_live
from pghot.live.run import RunSettings, run_live
from pghot.live.targets import Targets

PID = 500
HOLD = """
import sys
from pathlib import Path
from pghot.kernel.sysroot import SysRoot
from pghot.live.owner import Owner
owner = Owner(SysRoot(Path(sys.argv[1])))
owner.take()
print("mine", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("source", "apply", "changes"),
    [
        ("faults", False, True),
        ("damon", False, True),
        ("softdirty", False, True),
        ("idle", False, True),
        ("lrugen", False, True),
        ("chmu", False, True),
        ("ibs", False, False),
        ("pebs", False, False),
        ("spe", False, False),
        ("swapins", False, False),
        ("replay", False, False),
        ("ibs", True, True),
    ],
)
def test_what_changes_the_machine(source: str, apply: bool, changes: bool) -> None:
    assert changes_machine(LiveSettings(Targets((1,)), (source,), apply=apply)) is changes
    assert changes_machine(LiveSettings(Targets((1,)), ("ibs", source), apply=apply)) is changes


def test_damos_changes_it_in_a_dry_run_too() -> None:
    assert changes_machine(with_damos(LiveSettings(Targets((1,)), mover=MoverSettings(kind="damos")), {}))


def test_the_owner_is_named_and_a_kill_frees_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        for _ in range(2):  # the refused one leaves the owner's words there
            with pytest.raises(
                PghotError, match=rf"^pghot {other.pid} \(-c .*\) changes this machine"
            ) as caught:
                Owner(SysRoot(tmp_path)).take()
        assert caught.value.exit_code == 1
        other.send_signal(signal.SIGKILL)
        other.wait()
        with owned(SysRoot(tmp_path)) as owner:
            owner.take()
            with pytest.raises(PghotError, match=f"pghot {os.getpid()} "):
                Owner(SysRoot(tmp_path)).take()
        Owner(SysRoot(tmp_path)).take()


def test_who_locked_it_a_moment_ago_has_no_name_yet(tmp_path: Path) -> None:
    with owned(SysRoot(tmp_path)):
        (tmp_path / "run/pghot" / FILE).write_text("")
        with pytest.raises(PghotError, match=r"^another pghot changes this machine already"):
            Owner(SysRoot(tmp_path)).take()


def test_a_program_that_is_started_does_not_inherit_it(tmp_path: Path) -> None:
    owner = Owner(SysRoot(tmp_path))
    owner.take()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False):
        owner.free()
        Owner(SysRoot(tmp_path)).take()


@pytest.mark.parametrize("what", ["file", "directory", "link"])
def test_a_place_that_others_can_change_is_refused(tmp_path: Path, what: str) -> None:
    place = tmp_path / "run/pghot"
    place.mkdir(parents=True)
    if what == "link":
        (tmp_path / "other").touch()
        (place / FILE).symlink_to(tmp_path / "other")
    else:
        (place / FILE).touch()
        (place / FILE if what == "file" else place).chmod(0o777)
    said = "cannot make the lock" if what == "link" else "others may write"
    with pytest.raises(PghotError, match=said) as caught:
        Owner(SysRoot(tmp_path)).take()
    assert isinstance(caught.value, UsageError) == (what != "link")


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    made = FakeKernel(tmp_path)
    made.program(PID, [maps_line(START, 64)])
    made.populate(PID, 0, 64, 1)
    install(made, monkeypatch)
    return made


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> type[Scripted]:
    return register(monkeypatch)


def test_a_run_and_a_recording_own_it_to_their_end(
    kernel: FakeKernel, source: type[Scripted], tmp_path: Path
) -> None:
    settings = LiveSettings(Targets((PID,)), ("scripted",))
    free: list[bool] = []

    def end(live: Live) -> None:
        try:
            Owner(kernel.root).take()
        except PghotError:
            free.append(False)
        else:
            free.append(True)
        kernel.exit(PID)

    with owned(kernel.root):
        with pytest.raises(PghotError, match="changes this machine already"):
            run_live(kernel.root, settings, RunSettings(journal=tmp_path / "j"), end)
        with pytest.raises(PghotError, match="changes this machine already"):
            record_live(kernel.root, settings, RecordingPlan(tmp_path / "r.pghot"), end)
    assert source.order == []
    assert not (tmp_path / "j").exists()
    assert not (tmp_path / "r.pghot").exists()
    run_live(kernel.root, settings, RunSettings(journal=tmp_path / "j"), end)
    assert set(free) == {False}
    Owner(kernel.root).take()


def test_what_only_reads_runs_beside_the_owner(
    kernel: FakeKernel, source: type[Scripted], tmp_path: Path
) -> None:
    source.only_reads = True
    with owned(kernel.root):
        settings = LiveSettings(Targets((PID,)), ("scripted",))
        run_live(kernel.root, settings, RunSettings(journal=tmp_path / "j"), lambda _: kernel.exit(PID))
    assert source.order == ["start", "stop"]


def test_undo_puts_no_knob_back_below_an_owner(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its value may be the owner's by now."""
    monkeypatch.setattr("pghot.kernel.sysroot.SysRoot", lambda: kernel.root)
    path = tmp_path / "old.pghot-journal"
    with Journal(path, kernel.root) as journal:
        journal.knob(NUMA_BALANCING, "0", "2")
    knob = kernel.root.path(NUMA_BALANCING)
    knob.parent.mkdir(parents=True, exist_ok=True)
    knob.write_text("2")
    with owned(kernel.root):
        assert run(["undo", str(path)]) == 1
        assert "changes this machine already" in capsys.readouterr().err
        assert kernel.root.read(NUMA_BALANCING) == "2"
    assert run(["undo", str(path)]) == 0
    assert kernel.root.read(NUMA_BALANCING) == "0"
