"""The live view in a real terminal: over a daemon and over a run. A recording stands for the kernel."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from builders.daemon_process import PGHOT, Daemon, Tracked, daemon, port, tracked
from builders.record_programs import needs_qemu
from terminal import ALTERNATE, COLOURS, Terminal
from waiting import until

__all__ = ["daemon", "port", "tracked"]  # fixtures


def watch(place: Path, *more: str, **given: object) -> Terminal:
    return Terminal([PGHOT, "top", f"{place}/pghot.sock", "--interval", "0.2", *more], **given)  # type: ignore[arg-type]


def test_watch_shows_the_daemon_until_q(daemon: Daemon, tmp_path: Path, tracked: Tracked) -> None:
    with watch(tmp_path) as terminal:
        terminal.until("hot regions")
        terminal.until(f"{tracked.start:#x}"[:8])
        terminal.until("nothing lost")
        terminal.press("q")
        assert terminal.end() == 0
        assert terminal.restored()
        assert b"dry run" in terminal.wrote


def test_help_and_stop(daemon: Daemon, tmp_path: Path) -> None:
    with watch(tmp_path, size=(160, 50)) as terminal:
        terminal.until("counters")
        terminal.press("s")
        terminal.until("STOPPED")
        terminal.press("s?")
        terminal.until("Ctrl-C   as without the screen")
        seen = len(terminal.wrote)
        terminal.press("q")  # any key: it closes the page, not the screen
        terminal.until("sightings, last 5 min", after=seen)  # the page covered it
        terminal.press("q")
        assert terminal.end() == 0


def test_ctrl_c_ends_it_with_130(daemon: Daemon, tmp_path: Path) -> None:
    with watch(tmp_path) as terminal:
        terminal.until("hot regions")
        terminal.press("\x03")
        assert terminal.end() == 130
        assert terminal.restored()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_gives_the_terminal_back(daemon: Daemon, tmp_path: Path, number: int) -> None:
    with watch(tmp_path) as terminal:
        terminal.until("hot regions")
        terminal.process.send_signal(number)
        assert terminal.end() == 130
        assert terminal.restored()


def test_a_daemon_that_goes_away_and_comes_back(daemon: Daemon, tmp_path: Path) -> None:
    with watch(tmp_path) as terminal:
        terminal.until("hot regions")
        assert daemon.stop() == 0
        terminal.until("trying again")
        (tmp_path / "notify").unlink()
        again = Daemon(tmp_path / "pghot.toml")
        again.await_notice("READY=1")
        seen = len(terminal.wrote)
        terminal.until("dry run", after=seen)
        assert again.stop() == 0
        seen = len(terminal.wrote)
        terminal.until("trying again", after=seen)
        terminal.press("q")
        assert terminal.end() == 2
        assert terminal.restored()
        assert "error: no pghot daemon at" in terminal.text
        again.channel.close()


def test_no_color(daemon: Daemon, tmp_path: Path) -> None:
    for env, colours in ({}, True), ({"NO_COLOR": "1"}, False):
        with watch(tmp_path, env=env) as terminal:
            terminal.until("hot regions")
            terminal.until("0x7")
            terminal.press("q")
            assert terminal.end() == 0
            assert bool(COLOURS.search(terminal.wrote)) is colours


def test_no_daemon_at_the_start(tmp_path: Path) -> None:
    with watch(tmp_path) as terminal:
        assert terminal.end() == 2
        assert ALTERNATE not in terminal.wrote
        assert "no pghot daemon" in terminal.text


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("a.sock",), "needs a terminal"),
        (("bundled:redis-zipf",), "needs a terminal"),
        (("a.sock", "--speed", "2"), "--speed goes with a recording"),
        (("a.pghot", "--interval", "2"), "--interval goes with a daemon's socket"),
    ],
)
def test_watch_is_refused_where_it_makes_no_sense(tmp_path: Path, words: tuple[str, ...], what: str) -> None:
    done = subprocess.run([PGHOT, "top", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert what in done.stderr
    assert "hint: " in done.stderr
    assert done.stdout == ""


# ---- run --view


def run_view(tracked: Tracked, *more: str) -> list[str]:
    return [
        PGHOT, "run", "--view", "--source", "replay", "--set", f"replay.file={tracked.recording}",
        "--set", "replay.loop=true", "--journal", str(tracked.recording.with_name("j")), *more,
    ]  # fmt: skip


def test_run_with_the_view_ends_with_its_summary(tracked: Tracked) -> None:
    with Terminal(run_view(tracked, "-p", str(tracked.pid))) as terminal:
        terminal.until("hot regions")
        terminal.until(str(tracked.pid))
        terminal.press("q")
        assert terminal.end() == 0
        assert terminal.restored()
        assert "would promote (dry run: nothing was changed)" in terminal.text


def test_run_ends_by_itself_and_closes_the_screen(tracked: Tracked) -> None:
    with Terminal(run_view(tracked, "-p", str(tracked.pid), "--duration", "3s")) as terminal:
        assert terminal.end() == 0
        assert terminal.restored()
        seconds = re.search(r"dry run, ([0-9.]+) s", terminal.text)
        assert seconds is not None
        assert float(seconds[1]) >= 3


@pytest.mark.parametrize("way", ["key", "SIGINT", "SIGTERM"])
def test_run_interrupted(tracked: Tracked, way: str) -> None:
    with Terminal(run_view(tracked, "-p", str(tracked.pid))) as terminal:
        terminal.until("hot regions")
        if way == "key":
            terminal.press("\x03")
        else:
            os.kill(terminal.process.pid, signal.Signals[way])
        assert terminal.end() == 130
        assert terminal.restored()
        assert "would promote (dry run: nothing was changed)" in terminal.text


NOISY = """
import pathlib, sys, time
print('NOISE', flush=True)
pathlib.Path(sys.argv[1]).touch()
while True:
    time.sleep(1)
"""


def test_a_command_gets_ctrl_c_too_and_its_output_stays_off_the_screen(
    tracked: Tracked, tmp_path: Path
) -> None:
    printed = tmp_path / "printed"
    command = run_view(tracked, "--", sys.executable, "-c", NOISY, str(printed))
    with Terminal(command) as terminal:
        terminal.until("pghot itself")
        until(printed.exists, "the command's own output")
        terminal.press("\x03")
        assert terminal.end() == 130
        assert terminal.restored()
    file = Path(terminal.text.split(" printed is in ")[1].split()[0])
    assert file.read_text().splitlines()[0] == "NOISE"
    assert "KeyboardInterrupt" in file.read_text()
    file.unlink()


def test_a_run_that_cannot_start_says_so_on_the_terminal_given_back(tracked: Tracked) -> None:
    with Terminal(run_view(tracked, "-p", "999999999")) as terminal:
        assert terminal.end() == 2
        assert "pghot: error: no process 999999999" in terminal.text
        assert terminal.wrote.count(b"\x1b[?1049l") == terminal.wrote.count(ALTERNATE)


def test_json_goes_to_a_stdout_elsewhere(tracked: Tracked, tmp_path: Path) -> None:
    line = " ".join(run_view(tracked, "-p", str(tracked.pid), "--json"))
    with Terminal(["sh", "-c", f"{line} > {tmp_path}/out"]) as terminal:
        terminal.until("pghot itself")
        terminal.press("q")
        assert terminal.end() == 0
        assert terminal.restored()
    assert json.loads((tmp_path / "out").read_text())["schema"] == "pghot.run/1"


def test_view_without_a_terminal_is_refused(tracked: Tracked) -> None:
    done = subprocess.run(
        run_view(tracked, "-p", str(tracked.pid)), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--view needs a terminal" in done.stderr


# ---- top of a recording


def test_a_recording_is_played_until_a_key_ends_it() -> None:
    with Terminal([PGHOT, "top", "bundled:redis-zipf"]) as terminal:
        terminal.until("of 1.92 s")
        terminal.until("[anon]")
        terminal.press("q")
        assert terminal.end() == 0


@needs_qemu
def test_what_if_plays_what_it_recorded_and_then_simulates(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "x = bytearray(1 << 24)"]
    how = ["--source", "qemu", "--policies", "numab2", "--view", "-o", str(tmp_path / "seen.html")]
    with Terminal([PGHOT, "run", "--what-if", "dram-cxl", *how, "--", *program]) as terminal:
        terminal.until("[heap]")
        assert not (tmp_path / "seen.html").exists()
        terminal.press("q")
        assert terminal.end() == 0
        assert terminal.restored()
        assert "nothing was moved" in terminal.text
    assert (tmp_path / "seen.html").exists()


@needs_qemu
def test_what_if_without_a_terminal_records_nothing_to_play(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    done = subprocess.run(
        [PGHOT, "run", "--what-if", "dram-cxl", "--view", "--", "touch", str(mark)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--view needs a terminal" in done.stderr
    assert not mark.exists()
