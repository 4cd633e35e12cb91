"""Real programs chosen by their names: a daemon follows those that come and drops those that end."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builders.daemon_process import PGHOT, Daemon, Tracked, configuration, port, tracked
from waiting import until

__all__ = ["port", "tracked"]  # fixtures

Start = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts programs that sleep, under names of the test's own."""
    running: list[subprocess.Popen[bytes]] = []

    def sleeping(name: str) -> subprocess.Popen[bytes]:
        """Python sets the name by writing to its comm (proc_pid_comm(5))."""
        code = (
            f"import sys; open('/proc/self/comm', 'w').write({name!r}); print(flush=True); sys.stdin.read()"
        )
        command = ["/usr/bin/env", "python3", "-c", code]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        running.append(child)
        assert child.stdout is not None
        child.stdout.readline()
        return child

    yield sleeping
    for child in running:
        child.kill()
        child.communicate()


def test_a_daemon_follows_those_that_come_and_drops_those_that_end(
    tmp_path: Path, tracked: Tracked, port: int, start: Start
) -> None:
    mark = f"p{os.getpid() % 10**6}"
    targets = f'names = ["{mark}-*"]\nusers = ["{os.geteuid()}"]\nleave_out = {{ names = ["*-out"] }}'
    running = Daemon(configuration(tmp_path, tracked, port, targets=targets))

    def programs() -> list[int]:
        done = subprocess.run(
            [PGHOT, "status", "--json", "--socket", str(tmp_path / "pghot.sock")],
            capture_output=True,
            check=True,
        )
        return sorted(program["pid"] for program in json.loads(done.stdout)["programs"])

    try:
        running.await_notice("READY=1")
        assert programs() == []
        one, _, two = start(f"{mark}-a"), start(f"{mark}-out"), start(f"{mark}-b")
        until(lambda: programs() == sorted((one.pid, two.pid)), "both programs that fit", programs)
        one.kill()
        one.wait()
        until(lambda: programs() == [two.pid], "one program that is left", programs)
        assert running.stop() == 0
    finally:
        if running.process.poll() is None:
            running.process.kill()
        running.process.wait()
        running.channel.close()


def test_a_run_tracks_those_that_fit_and_refuses_when_none_does(tracked: Tracked, start: Start) -> None:
    mark = f"q{os.getpid() % 10**6}"
    replay = [
        "run",
        "--source",
        "replay",
        "--set",
        f"replay.file={tracked.recording}",
        "--duration",
        "0.1s",
        "--json",
    ]
    none = subprocess.run(
        [PGHOT, *replay, "--name", f"{mark}-*"], capture_output=True, text=True, check=False
    )
    assert none.returncode == 2
    assert "no program that runs fits what was asked for" in none.stderr
    one, _ = start(f"{mark}-a"), start(f"{mark}-b")
    done = subprocess.run(
        [PGHOT, *replay, "--name", f"{mark}-*", "--leave-out-name", "*-b"], capture_output=True, check=True
    )
    assert json.loads(done.stdout)["programs"] == [{"pid": one.pid, "name": f"{mark}-a"}]
