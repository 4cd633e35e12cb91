"""`pghot record` as a user runs it: signals, failing commands, missing tools."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from builders import record_programs as programs
from pghot.recorder.programs import machine
from pghot.recording.reader import open_recording
from waiting import GUARD_S, until

PGHOT = [sys.executable, "-c", "import sys; from pghot.cli.main import main; sys.exit(main())"]


def run(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [*PGHOT, "record", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


def endless(tmp_path: Path, *arguments: str) -> list[str]:
    program = tmp_path / "endless"
    program.with_suffix(".c").write_text(programs.ENDLESS)
    subprocess.run(["cc", "-O1", "-o", str(program), str(program.with_suffix(".c"))], check=True)
    return [str(program), *arguments]


def start(path: Path, command: list[str]) -> tuple[subprocess.Popen[str], int]:
    """A recorder whose program runs, and the program's pid."""
    recorder = subprocess.Popen(
        [*PGHOT, "record", str(path), "--", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert recorder.stdout is not None
    return recorder, int(recorder.stdout.readline())


def recorded(path: Path) -> bool:
    """Whether some slices are in a file that grows."""
    return path.exists() and open_recording(path).slices > 10


def runs(pid: int) -> bool:
    """Whether a process exists and is more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@programs.needs_qemu
@pytest.mark.parametrize("form", ["positional", "option"])
def test_it_records_and_says_what(tmp_path: Path, form: str) -> None:
    path = tmp_path / "true.pghot"
    words = [path] if form == "positional" else ["-o", path]
    done = run(*words, "--json", "--", "sh", "-c", "exit 0")
    facts = json.loads(done.stdout)
    assert done.returncode == 0
    assert (facts["schema"], facts["exit_status"], facts["threads"]) == ("pghot.record/1", 0, 1)
    assert facts["references"] == open_recording(path, verify=True).total_touches > 10_000
    assert facts["file_bytes"] == path.stat().st_size


@programs.needs_qemu
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("handles", [True, False])
def test_a_signal_ends_the_program_and_finishes_the_recording(
    tmp_path: Path, number: signal.Signals, handles: bool
) -> None:
    path = tmp_path / "it.pghot"
    recorder, pid = start(path, endless(tmp_path, *(["handle"] if handles else [])))
    until(lambda: recorded(path), "recorded slices")
    recorder.send_signal(number)
    _, errors = recorder.communicate(timeout=GUARD_S)
    recording = open_recording(path, verify=True)
    assert recorder.returncode == 130, errors
    assert recording.complete
    assert recording.slices > 10
    assert recording.final["exit_status"] == (5 if handles else -number)
    assert recording.final["interrupted_by"] == [number.name]
    assert recording.final["ended_regularly"] is handles
    assert not runs(pid)


@programs.needs_qemu
def test_a_killed_recorder_leaves_a_readable_file_and_no_process(tmp_path: Path) -> None:
    path = tmp_path / "it.pghot"
    recorder, pid = start(path, endless(tmp_path, "handle"))
    until(lambda: recorded(path), "recorded slices")
    recorder.kill()
    recorder.communicate(timeout=GUARD_S)
    until(lambda: not runs(pid), "the end of the program")
    recording = open_recording(path, verify=True)
    assert recording.slices > 10
    assert not recording.complete
    assert sum(int(batch.touches.sum()) for batch in recording.batches()) == recording.total_touches


@programs.needs_qemu
def test_what_is_not_followed_is_said_when_it_starts(tmp_path: Path) -> None:
    words = ["sh", "-c", "sh -c :; exec " + " ".join(endless(tmp_path, "handle"))]
    recorder = subprocess.Popen(
        [*PGHOT, "record", "--no-children", str(tmp_path / "it.pghot"), "--", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert recorder.stdout is not None
    assert recorder.stderr is not None
    recorder.stdout.readline()  # the endless program runs
    first = next(line for line in recorder.stderr if not line.startswith("recording:"))
    assert recorder.poll() is None
    recorder.send_signal(signal.SIGTERM)
    recorder.communicate(timeout=GUARD_S)
    assert "not followed: " in first
    assert "sh (pid " in first


@programs.needs_qemu
def test_slices_are_joined_until_the_file_is_as_small_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "it.pghot"
    loop = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
    done = run(path, "--max-size", "12 KiB", "--takes", "1 s", "--", "sh", "-c", loop)
    assert done.returncode == 0, done.stderr
    assert path.stat().st_size <= 12 << 10
    recording = open_recording(path, verify=True)
    joined = recording.info.slice_ns // 250_000
    assert joined > 1
    assert f": {joined} each were joined to keep the file small" in done.stderr
    assert "x slower" in done.stderr


@programs.needs_qemu
def test_max_duration_ends_the_program(tmp_path: Path) -> None:
    path = tmp_path / "it.pghot"
    done = run(path, "--max-duration", "1 s", "--", *endless(tmp_path))
    assert done.returncode == 0, done.stderr
    assert open_recording(path).final["exit_status"] == -signal.SIGTERM


@programs.needs_qemu
def test_a_program_that_is_out_of_time_before_it_did_anything_did_not_die(tmp_path: Path) -> None:
    done = run(tmp_path / "it.pghot", "--max-duration", "1 ms", "--", *endless(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "died" not in done.stderr


@programs.needs_qemu
def test_the_time_of_a_program_does_not_run_out_while_the_emulator_starts(tmp_path: Path) -> None:
    """On a busy machine that takes longer than the program may run."""
    slow = tmp_path / f"qemu-{machine()}"
    plain = shutil.which(slow.name)
    slow.write_text(f'#!/bin/sh\ncase "$*" in *-plugin*) sleep 1;; esac\nexec {plain} "$@"\n')
    slow.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    path = tmp_path / "it.pghot"
    done = run(path, "--max-duration", "1 ms", "--", *endless(tmp_path), env=environment)
    assert done.returncode == 0, done.stderr
    assert open_recording(path).final["exit_status"] == -signal.SIGTERM


@programs.needs_qemu
def test_the_exit_status_of_the_program_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "it.pghot"
    loop = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exit 3"
    done = run(path, "--", "sh", "-c", loop)
    assert done.returncode == 0
    assert "exit status 3" in done.stderr
    assert open_recording(path).final["exit_status"] == 3


@programs.needs_qemu
def test_a_program_that_dies_at_once_is_an_error(tmp_path: Path) -> None:
    done = run(tmp_path / "it.pghot", "--", "sh", "-c", "exit 7")
    assert done.returncode == 1
    assert "'sh' died at once: exit status 7" in done.stderr


@programs.needs_qemu
def test_an_existing_recording_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "it.pghot"
    path.write_text("precious")
    done = run(path, "--", "true")
    assert (done.returncode, path.read_text()) == (2, "precious")
    assert "--force" in done.stderr
    assert run("--force", path, "--", "true").returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["it.pghot", "--", "no-such-program"], 2, "command not found: 'no-such-program'"),
        (["it.pghot", "--", "./readme"], 2, "'./readme' is not executable"),
        (["it.pghot", "--", "./text"], 2, "neither an ELF program nor a script"),
        (["it.pghot", "--", "./foreign"], 3, "a program for another machine"),
        (["it.pghot", "--", "./orphan"], 2, "'/no/such/interpreter', which does not exist"),
        (["it.pghot", "--", "."], 2, "command not found"),
        (["it.pghot"], 2, "no command to record"),
        (["ls", "-la"], 2, ""),
        (["--", "ls", "x"], 2, "'ls' does not name a recording"),
        (["it.pghot", "--slice", "1 h", "--", "true"], 2, "'1 h' is not a duration"),
        (["it.pghot", "--slice", "2 s", "--", "true"], 2, "out of range"),
        (["it.pghot", "--llc", "1 KiB", "--llc-ways", "32", "--", "true"], 2, "cannot be modelled"),
        (["it.pghot", "--llc-ways", "0", "--", "true"], 2, "0 ways"),
        (["it.pghot", "--source", "perf", "--", "true"], 2, "unknown live source 'perf'"),
        (["/no/such/directory/it.pghot", "--", "true"], 2, "cannot create"),
    ],
)
def test_what_cannot_be_recorded_is_one_line(tmp_path: Path, words: list[str], code: int, text: str) -> None:
    (tmp_path / "readme").write_text("hello")
    for name, data in (
        ("text", b"hello"),
        ("foreign", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x08\x00" + bytes(100)),
        ("orphan", b"#!/no/such/interpreter\n"),
    ):
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o755)
    done = run(*words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "it.pghot").exists()


def test_without_qemu_it_names_the_package(tmp_path: Path) -> None:
    done = run(tmp_path / "it.pghot", "--", sys.executable, "-V", env=os.environ | {"PATH": str(tmp_path)})
    assert done.returncode == 3
    assert "apt-get install qemu-user" in done.stderr


@programs.needs_qemu
def test_without_a_compiler_it_names_the_package(tmp_path: Path) -> None:
    qemu = f"qemu-{machine()}"
    (tmp_path / qemu).symlink_to(str(shutil.which(qemu)))
    environment = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = run(tmp_path / "it.pghot", "--", sys.executable, "-V", env=environment)
    assert done.returncode == 3
    assert "apt-get install gcc" in done.stderr


@programs.needs_qemu
def test_a_qemu_that_refuses_the_plugin_is_an_error_of_one_line(tmp_path: Path) -> None:
    old = tmp_path / f"qemu-{machine()}"
    old.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = --version ]; then echo "qemu-x version 7.2.0"; exit 0; fi\n'
        'if [ "$1" = -h ]; then echo "-plugin QEMU_PLUGIN"; exit 0; fi\n'
        'echo "TCG plugin requires API version 1, but this QEMU supports only 4" >&2; exit 1\n'
    )
    old.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = run(tmp_path / "it.pghot", "--", "true", env=environment)
    assert done.returncode == 3
    assert "did not start under" in done.stderr
    assert "requires API version" in done.stderr
    assert not (tmp_path / "it.pghot").exists()
