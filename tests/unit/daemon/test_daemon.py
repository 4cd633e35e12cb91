"""The daemon in this process, over a fake kernel: reloads, signals, and what is put back at the end."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from builders.live_loop import START, FakeKernel, Scripted, addresses, install, maps_line, register
from builders.scarcity import no_descriptors
from pghot.daemon.client import ask
from pghot.daemon.daemon import Daemon, live_settings
from pghot.daemon.logs import event
from pghot.errors import PghotError, UnsupportedError, UsageError
from pghot.live.journal_file import read_journal
from pghot.live.owner import owned
from pghot.live.sources.access_source import sightings_of
from waiting import GUARD_S, until

FIRST, SECOND = 500, 600
HOT = addresses(3, 23)


@dataclass
class Bench:
    """Configuration, kernel and source of a daemon; `logged` are the names of its events."""

    place: Path
    kernel: FakeKernel
    source: type[Scripted]
    logged: list[str] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.place / "pghot.toml"

    @property
    def journal(self) -> Path:
        return self.place / "d.pghot-journal"

    def write(self, pids: list[int], more: str = "") -> None:
        self.config.write_text(
            f"""apply = true
sources = ["scripted"]
tracked = "1 GiB"
[targets]
pids = {pids}
[options.pghot-default]
freq_threshold = 2
[service]
interval_ms = 10
max_cpu_percent = 100000  # kernels that are compiled in a test are no sign of a budget too small
socket = "{self.place}/s"
metrics = ""
journal = "{self.journal}"
{more}
"""
        )

    def run(self, talk: Callable[[], None]) -> None:
        """Run the daemon; `talk` runs beside it in a thread once it listens, and SIGTERM follows."""
        failed: list[BaseException] = []

        def beside() -> None:
            try:
                until((self.place / "s").exists, "the daemon's socket")
                talk()
            except BaseException as error:  # shown by the test, not by the thread
                failed.append(error)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        async def main() -> None:
            thread = threading.Thread(target=beside)
            thread.start()
            try:
                await Daemon(self.config, self.kernel.root).run()
            finally:
                await asyncio.to_thread(thread.join)

        asyncio.run(main())
        if failed:
            raise failed[0]

    def status(self) -> dict[str, Any]:
        return ask(self.place / "s", {"get": "status"}, GUARD_S)[0]

    def on(self, pid: int, node: int) -> int:
        return sum(
            1 for (owner, _), where in list(self.kernel.node.items()) if owner == pid and where == node
        )

    def hot(self, pid: int) -> None:
        """The source sees the hot pages of this program four times."""
        self.source.says.append([sightings_of(pid, HOT)] * 4)

    def reload(self) -> None:
        os.kill(os.getpid(), signal.SIGHUP)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Two programs with 64 slow pages each; a SIGTERM that comes too late ends no test run."""
    kernel = FakeKernel(tmp_path)
    for pid in (FIRST, SECOND):
        kernel.program(pid, [maps_line(START, 64)], start_ticks=pid)
        kernel.populate(pid, 0, 64, 1)
    install(kernel, monkeypatch)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    made = Bench(tmp_path, kernel, register(monkeypatch))
    made.write([FIRST])

    def noted(log: logging.Logger, name: str, level: int = logging.INFO, **fields: object) -> None:
        event(log, name, level, **fields)
        made.logged.append(name)

    monkeypatch.setattr("pghot.daemon.daemon.event", noted)
    yield made
    signal.signal(signal.SIGTERM, before)


def events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in capsys.readouterr().err.splitlines()]


def test_it_promotes_and_puts_everything_back_at_the_end(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    def talk() -> None:
        bench.hot(FIRST)
        until(lambda: bench.on(FIRST, 0) == 23, "the first program's promotion")
        assert bench.journal.exists()
        assert (
            ask(bench.place / "s", {"get": "hot", "by": "page", "top": 99}, GUARD_S)[0]["hot"][0]["pid"]
            == FIRST
        )
        until(lambda: bench.status()["moves"]["promoted_pages"] == 23, "its count")

    bench.run(talk)
    assert bench.on(FIRST, 1) == 64
    assert not bench.journal.exists()
    assert [each["event"] for each in events(capsys)] == ["programs", "ready", "stopped"]
    assert bench.source.order == ["start", "stop"]
    assert not (bench.place / "s").exists()


def test_after_a_reload_both_programs_pages_go_home(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """The second program is the first space of the second loop: the journal must not take it for the first program."""

    def talk() -> None:
        bench.hot(FIRST)
        until(lambda: bench.on(FIRST, 0) == 23, "the first program's promotion")
        bench.write([SECOND])
        bench.reload()
        until(lambda: [each["pid"] for each in bench.status()["programs"]] == [SECOND], "the reload")
        bench.hot(SECOND)
        until(lambda: bench.on(SECOND, 0) == 23, "the second program's promotion")
        spaces = {entry.identity.pid: len(entry.origins()[0]) for entry in read_journal(bench.journal).spaces}
        assert spaces == {FIRST: 64, SECOND: 64}

    bench.run(talk)
    assert (bench.on(FIRST, 1), bench.on(SECOND, 1)) == (64, 64)
    found = events(capsys)
    # When the programs of the new configuration are told depends on when the next status is made.
    assert [each["event"] for each in found if each["event"] != "programs"] == [
        "ready",
        "reloaded",
        "stopped",
    ]
    assert found[-1]["pages_back"] == 46


def test_a_wrong_reload_is_refused_and_the_old_goes_on(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    def talk() -> None:
        for number, wrong in enumerate(
            (([FIRST], "speed = 3"), ([FIRST], "[mover]\nbatch_pages = 0"), ([4194305], ""))
        ):
            bench.write(*wrong)
            bench.reload()
            refused = lambda number=number: bench.logged.count("reload refused") > number  # noqa: E731
            until(refused, f"the refusal of {wrong}")
        bench.hot(FIRST)
        until(lambda: bench.on(FIRST, 0) == 23, "the first program's promotion")

    bench.run(talk)
    refused = [each for each in events(capsys) if each["event"] == "reload refused"]
    assert [each["level"] for each in refused] == ["error"] * 3
    assert "service.speed" in refused[0]["error"]
    assert "mover.batch_pages" in refused[1]["error"]
    assert "no process 4194305" in refused[2]["error"]


def test_what_is_wrong_is_logged_once_when_it_begins_and_once_when_it_ends(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pghot.daemon.daemon.STATUS_MS", 0)
    monkeypatch.setattr("pghot.live.loop.REFRESH_MS", 0)

    def talk() -> None:
        bench.source.wrong.append("nobody scans; look at it")
        until(lambda: "degraded" in bench.logged, "the log of what is wrong")
        assert bench.status()["degraded"] == [{"part": "scripted", "problem": "nobody scans; look at it"}]
        bench.source.wrong.clear()
        until(lambda: "no longer degraded" in bench.logged, "the log of what is well")

    bench.run(talk)
    told = [each for each in events(capsys) if "degraded" in each["event"]]
    assert [(each["level"], each["event"]) for each in told] == [
        ("warning", "degraded"),
        ("info", "no longer degraded"),
    ]
    assert all(each["part"] == "scripted" and "nobody scans" in each["problem"] for each in told)


def test_a_second_owner_is_refused_at_the_start_and_at_a_reload(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    with owned(bench.kernel.root):
        with pytest.raises(PghotError, match=f"pghot {os.getpid()} .* changes this machine already"):
            asyncio.run(Daemon(bench.config, bench.kernel.root).run())
        assert not (bench.place / "s").exists()
        bench.source.only_reads = True
        bench.config.write_text(bench.config.read_text().replace("apply = true", "apply = false"))

        def talk() -> None:
            bench.write([FIRST])
            bench.reload()
            until(lambda: "reload refused" in bench.logged, "the refusal")
            assert bench.status()["mode"] == "dry run"

        bench.run(talk)
    refused = [each for each in events(capsys) if each["event"] == "reload refused"]
    assert "changes this machine already" in refused[0]["error"]


def test_programs_that_come_and_go_and_changes_of_effort_are_logged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pghot.daemon.daemon.STATUS_MS", 0)
    monkeypatch.setattr("pghot.live.loop.REFRESH_MS", 0)
    efforts = iter([0.25, 0.25, 0.5])
    monkeypatch.setattr("pghot.live.budget.Budget.tick", lambda self, now_s: False)
    status = Daemon._status

    def with_effort(self: Daemon) -> Any:
        facts = status(self)
        facts["budget"]["effort"] = next(efforts, 0.5)
        return facts

    monkeypatch.setattr(Daemon, "_status", with_effort)
    bench.write([FIRST, SECOND])

    def talk() -> None:
        until(lambda: "effort raised" in bench.logged, "the changes of effort")
        bench.kernel.exit(SECOND)
        until(lambda: bench.logged.count("programs") == 2, "the end of a program")

    bench.run(talk)
    told = events(capsys)
    first, second = [each for each in told if each["event"] == "programs"]
    assert (first["tracked"], first["found"], first["lost"]) == (2, 2, 0)
    assert first["names_found"] == [f"{FIRST} program", f"{SECOND} program"]
    assert (second["tracked"], second["lost"], second["names_lost"]) == (1, 1, [f"{SECOND} program"])
    efforts_told = [
        (each["event"], each["before"], each["effort"]) for each in told if "effort" in each["event"]
    ]
    assert efforts_told == [("effort lowered", 1.0, 0.25), ("effort raised", 0.25, 0.5)]


def test_systemd_hears_of_it_however_long_a_pause_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute between two rounds, of which one passes."""
    notices: list[str] = []
    monkeypatch.setattr("pghot.daemon.daemon.Manager.tell", lambda _, *lines: notices.extend(lines))
    monkeypatch.setattr("pghot.daemon.daemon.WATCHDOG_S", 0.01)
    bench.config.write_text(bench.config.read_text().replace("interval_ms = 10", "interval_ms = 60000"))
    bench.source.says.extend([[] for _ in range(10)])
    bench.run(lambda: float(until(lambda: notices.count("WATCHDOG=1") > 5, "the watchdog's notices")))
    assert len(bench.source.says) == 9


def test_a_signal_does_not_wait_for_the_next_round(bench: Bench) -> None:
    """A minute between two rounds: neither a reload nor the end comes after it."""
    bench.write([FIRST], "log = 'text'")
    bench.config.write_text(bench.config.read_text().replace("interval_ms = 10", "interval_ms = 60000"))

    def talk() -> None:
        until(lambda: "ready" in bench.logged, "the start")
        bench.reload()
        until(lambda: "reloaded" in bench.logged, "the reload")
        os.mkfifo(bench.place / "fifo")
        bench.config.unlink()
        bench.config.symlink_to(bench.place / "fifo")
        bench.reload()
        until(lambda: "reload refused" in bench.logged, "the refusal of a FIFO")
        assert bench.status()["reload_accepted"] is False

    bench.run(talk)
    assert bench.logged[-1] == "stopped"


@pytest.mark.parametrize("what", ["fifo", "/dev/zero", "directory", "huge", "bytes", "socket"])
def test_what_is_no_configuration_is_refused_at_once(bench: Bench, what: str) -> None:
    """Nothing is waited for, and not a 10 GB file is read."""
    place = bench.place / "strange"
    if what == "fifo":
        os.mkfifo(place)
    elif what == "directory":
        place.mkdir()
    elif what == "huge":
        with place.open("wb") as file:
            file.truncate(10 << 30)
    elif what == "bytes":
        place.write_bytes(b"\xff\xfe")
    elif what == "socket":
        socket.socket(socket.AF_UNIX).bind(str(place))
    else:
        place.symlink_to(what)
    with pytest.raises(
        UsageError, match=f"cannot read configuration '{place}': (not|longer|Is a dir)"
    ) as caught:
        Daemon(place, bench.kernel.root)
    assert "--example" in caught.value.hint


def test_a_configuration_that_is_exchanged_while_it_is_read_is_not_used(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read may have been anybody's."""
    from pghot.daemon import config_file

    def exchange(path: Path) -> str:
        bench.config.rename(bench.place / "read")
        bench.config.write_text((bench.place / "read").read_text())
        return ""

    monkeypatch.setattr(config_file, "distrust", exchange)
    with pytest.raises(UsageError, match="another file took its place"):
        Daemon(bench.config, bench.kernel.root)


def test_without_descriptors_it_says_so_and_answers_and_goes_on(bench: Bench) -> None:
    """Whoever holds them, the programs have not ended."""
    bench.write([FIRST, SECOND])

    def talk() -> None:
        until(lambda: "ready" in bench.logged, "the start")
        with socket.socket(socket.AF_UNIX) as channel, channel.makefile("rwb") as stream:
            channel.settimeout(GUARD_S)
            channel.connect(str(bench.place / "s"))

            def status() -> dict[str, Any]:
                stream.write(b'{"get": "status"}\n')
                stream.flush()
                found: dict[str, Any] = json.loads(stream.readline())
                return found

            assert status()["degraded"] == []
            with no_descriptors():
                until(lambda: "degraded" in bench.logged, "the log's line")
                now = status()
                assert [each["part"] for each in now["degraded"]] == ["shortage"]
                assert sorted(each["pid"] for each in now["programs"]) == [FIRST, SECOND]
            bench.hot(FIRST)
            until(lambda: bench.on(FIRST, 0) == 23, "the first program's promotion")

    bench.run(talk)
    assert bench.logged.count("programs") == 1
    assert bench.on(FIRST, 1) == 64


def test_pages_that_stay_away_keep_the_journal(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    def talk() -> None:
        bench.hot(FIRST)
        until(lambda: bench.on(FIRST, 0) == 23, "the first program's promotion")
        bench.kernel.shared = {(FIRST, int(HOT[0]))}

    bench.run(talk)
    assert bench.on(FIRST, 0) == 1
    assert bench.journal.exists()
    assert events(capsys)[-1]["pages_left"] == 1


def test_a_failed_start_leaves_nothing_behind(bench: Bench) -> None:
    bench.source.fails = "no luck"
    with pytest.raises(UnsupportedError, match="no luck"):
        asyncio.run(started(bench))
    assert not (bench.place / "s").exists()
    assert bench.source.order == ["start", "stop"]
    bench.source.fails = ""
    bench.write([4194305])
    with pytest.raises(UsageError, match="no process"):
        asyncio.run(started(bench))
    bench.config.unlink()
    with pytest.raises(UsageError, match="cannot read configuration"):
        Daemon(bench.config, bench.kernel.root)


async def started(bench: Bench) -> None:
    await Daemon(bench.config, bench.kernel.root).run()


def test_the_file_becomes_the_loop_s_settings(bench: Bench) -> None:
    bench.write([FIRST], '[mover]\nrate_limit_mb_s = 23\nfree_floor = "5%"\ndemotion = "off"')
    from pghot.daemon.config import load_config

    settings = live_settings(load_config(bench.config))
    assert settings.mover.rate_limit_mb_s == 23
    assert settings.mover.free_floor == 0.05
    assert settings.mover.demotion == "off"
    assert settings.apply
    assert settings.policy_options == {"freq_threshold": 2}
    assert settings.tracked_bytes == 1 << 30
