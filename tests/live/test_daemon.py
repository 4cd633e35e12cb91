"""The daemon as a process: configuration, readiness, consumers, metrics, signals. A recording stands for the kernel."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pyarrow as pa
import pytest

from builders.daemon_process import (
    HOT,
    PGHOT,
    Daemon,
    Tracked,
    configuration,
    daemon,
    free_port,
    port,
    tracked,
)
from waiting import GUARD_S, until

__all__ = ["daemon", "port", "tracked"]  # fixtures


def pghot(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([PGHOT, *arguments], capture_output=True, check=False)


def answered(place: Path, *words: str) -> bytes:
    """What a command prints that asks the daemon, once it has an answer: on a busy machine the daemon may not get round
    to one for as long as a command waits."""
    done: list[subprocess.CompletedProcess[bytes]] = []

    def has_answer() -> bool:
        done.append(pghot(*words, "--socket", str(place / "pghot.sock")))
        return b"gave no answer: timed out" not in done[-1].stderr

    until(has_answer, "an answer of the daemon", lambda: done[-1].stderr)
    assert done[-1].returncode == 0, done[-1].stderr
    return done[-1].stdout


def ask(place: Path, *words: str) -> dict[str, object]:
    facts: dict[str, object] = json.loads(answered(place, *words, "--json"))
    return facts


def await_hot_pages(place: Path) -> None:
    """Until the daemon has seen each of the hot pages, page 40 most."""

    def addresses() -> list[int]:
        rows = ask(place, "hot", "--by", "page")["hot"]
        assert isinstance(rows, list)
        return [row["address"] for row in rows]

    until(lambda: len(addresses()) == len(HOT), "the hot pages", addresses)


def test_hot_pages_over_the_socket(daemon: Daemon, tmp_path: Path, tracked: Tracked) -> None:
    await_hot_pages(tmp_path)
    hot = ask(tmp_path, "hot", "--by", "page", "--top", "4")["hot"]
    assert isinstance(hot, list)
    assert hot[0]["address"] == tracked.start + 40 * 4096
    assert {row["address"] for row in hot} == {tracked.start + page * 4096 for page in HOT}
    assert {row["pid"] for row in hot} == {tracked.pid}
    regions = ask(tmp_path, "hot")["hot"]
    assert isinstance(regions, list)
    assert {(row["address"], row["bytes"]) for row in regions} == {
        (tracked.start + 3 * 4096, 3 * 4096),
        (tracked.start + 40 * 4096, 4096),
    }


def test_hot_pages_as_arrow_and_as_a_table(daemon: Daemon, tmp_path: Path) -> None:
    await_hot_pages(tmp_path)
    arrow = answered(tmp_path, "hot", "--by", "page", "--arrow")
    assert pa.ipc.open_stream(arrow).read_all()["pages"].to_pylist() == [1, 1, 1, 1]
    text = answered(tmp_path, "hot").decode()
    assert "heat" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_status(daemon: Daemon, tmp_path: Path, tracked: Tracked) -> None:
    facts = ask(tmp_path, "status")
    assert facts["schema"] == "pghot.status/1"
    assert facts["mode"] == "dry run"
    assert [program["pid"] for program in facts["programs"]] == [tracked.pid]  # type: ignore[index, attr-defined]
    text = answered(tmp_path, "status", "0.2", "2").decode()
    assert text.count("replay:") == 2


def test_metrics_have_help_and_units_and_only_bounded_labels(daemon: Daemon, port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=GUARD_S) as answer:
        text = answer.read().decode()
    samples = [line for line in text.splitlines() if line and not line.startswith("#")]
    named = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP")}
    assert 'pghot_sightings_total{source="replay"}' in text
    for line in samples:
        name, _, labels = line.split()[0].partition("{")
        assert name in named or name.removesuffix("_total") in named
        assert not labels or labels.startswith(("node=", "source=", "part=", "errno=", "version="))


def test_a_reload_takes_a_right_file_and_refuses_a_wrong_one(
    daemon: Daemon, tmp_path: Path, tracked: Tracked, port: int
) -> None:
    configuration(tmp_path, tracked, port, "speed = 3")
    daemon.process.send_signal(signal.SIGHUP)
    refused = daemon.await_event("reload refused")
    assert "speed" in str(refused["error"])
    assert ":" in str(refused["error"])
    configuration(tmp_path, tracked, port).write_text(
        configuration(tmp_path, tracked, port).read_text().replace("loop = true", "loop = false")
    )
    daemon.process.send_signal(signal.SIGHUP)
    daemon.await_event("reloaded")
    assert ask(tmp_path, "status")["programs"]


def test_a_stalled_consumer_is_dropped_and_the_others_served(daemon: Daemon, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stalled:
        stalled.connect(str(tmp_path / "pghot.sock"))
        request = {"get": "status", "every_ms": 1}
        stalled.sendall(json.dumps(request).encode() + b"\n")
        until(lambda: ask(tmp_path, "status")["consumers_dropped"] == 1, "the end of its connection")


@pytest.mark.parametrize(
    "request_",
    ["nonsense", '{"get": "all"}', '{"get": "hot", "top": 0}', '{"get": "hot", "x": 1}', "[" * 9000],
)
def test_wrong_requests_are_answered_with_an_error(daemon: Daemon, tmp_path: Path, request_: str) -> None:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(str(tmp_path / "pghot.sock"))
        channel.sendall(request_.encode() + b"\n")
        assert "error" in json.loads(channel.makefile().readline())
    assert ask(tmp_path, "status")


def test_sigterm_ends_it_cleanly(daemon: Daemon, tmp_path: Path) -> None:
    assert (tmp_path / "pghot.sock").stat().st_mode & 0o777 == 0o600
    assert daemon.stop() == 0
    assert not (tmp_path / "pghot.sock").exists()
    assert not (tmp_path / "daemon.pghot-journal").exists()
    assert daemon.events()[-1]["event"] == "stopped"


def test_a_second_daemon_on_the_same_socket_is_refused(
    daemon: Daemon, tmp_path: Path, tracked: Tracked
) -> None:
    (tmp_path / "second").mkdir()
    config = configuration(tmp_path / "second", tracked, free_port())
    config.write_text(config.read_text().replace("second/pghot.sock", "pghot.sock"))
    done = pghot("daemon", "-c", str(config))
    assert done.returncode == 2
    assert b"listens" in done.stderr


def test_a_metrics_port_in_use_is_named(tmp_path: Path, tracked: Tracked) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = pghot("daemon", "-c", str(configuration(tmp_path, tracked, port)))
    assert done.returncode == 2
    assert f"127.0.0.1:{port}".encode() in done.stderr
    assert not (tmp_path / "pghot.sock").exists()


def test_a_stale_socket_is_replaced_and_a_file_is_not(tmp_path: Path, tracked: Tracked, port: int) -> None:
    (tmp_path / "pghot.sock").write_text("precious")
    done = pghot("daemon", "-c", str(configuration(tmp_path, tracked, port)))
    assert done.returncode == 2
    assert (tmp_path / "pghot.sock").read_text() == "precious"
    (tmp_path / "pghot.sock").unlink()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "pghot.sock"))
    running = Daemon(configuration(tmp_path, tracked, port))
    running.await_notice("READY=1")
    assert running.stop() == 0
    running.channel.close()


def test_no_daemon(tmp_path: Path) -> None:
    done = pghot("status", "--socket", str(tmp_path / "none.sock"))
    assert done.returncode == 2
    assert b"no pghot daemon" in done.stderr
