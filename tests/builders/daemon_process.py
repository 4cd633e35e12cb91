"""A daemon as a process, over a sleeping program; a recording stands for the kernel."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pghot.recording.trace import MemoryTrace, Region, SliceBatch, TraceInfo
from pghot.recording.writer import write_recording
from waiting import GUARD_S, until

PAGES = 64
HOT = (3, 4, 5, 40)
PGHOT = str(Path(sys.executable).with_name("pghot"))
CHILD = """
import ctypes, mmap, sys
memory = mmap.mmap(-1, 64 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory[:] = b"x" * len(memory)
print(ctypes.addressof(ctypes.c_char.from_buffer(memory)), flush=True)
sys.stdin.read()
"""


@dataclass
class Tracked:
    """A sleeping program and a recording of accesses to its memory."""

    pid: int
    start: int
    recording: Path


@pytest.fixture
def tracked(tmp_path: Path) -> Iterator[Tracked]:
    command = [sys.executable, "-c", CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        start = int(child.stdout.readline())
        path = tmp_path / "hot.pghot"
        write_recording(path, trace(start))
        yield Tracked(child.pid, start, path)
        child.kill()


def trace(start: int) -> MemoryTrace:
    """2000 slices of 10 ms in each of which the hot pages are touched, page 40 ten times."""
    slices, k = 2000, len(HOT)
    touches = np.tile(np.array([1, 1, 1, 10], np.uint32), slices)
    batch = SliceBatch(
        start_ns=np.arange(slices, dtype=np.uint64) * np.uint64(10_000_000),
        instructions=np.full(slices, 1000, np.uint64),
        offsets=np.arange(slices + 1, dtype=np.int64) * k,
        page=np.tile(np.array(HOT, np.uint32), slices),
        touches=touches,
        misses=touches,
        sequential=np.zeros(slices * k, np.uint32),
        writes=np.zeros(slices * k, np.uint32),
        node=np.zeros(slices * k, np.int16),
    )
    region = Region(0, PAGES, 0, start, "[anon]")
    return MemoryTrace(TraceInfo("hot", "workload", slice_ns=10_000_000), PAGES, (region,), [batch])


def configuration(place: Path, tracked: Tracked, port: int, more: str = "", targets: str = "") -> Path:
    """targets  what is tracked in place of the program by its pid"""
    path = place / "pghot.toml"
    path.write_text(
        f"""
sources = ["replay"]
tracked = "2 GiB"
[targets]
{targets or f"pids = [{tracked.pid}]"}
[options.replay]
file = "{tracked.recording}"
loop = true
[service]
interval_ms = 20
socket = "{place}/pghot.sock"
metrics = "127.0.0.1:{port}"
journal = "{place}/daemon.pghot-journal"
{more}
"""
    )
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Daemon:
    """A running daemon that said READY=1."""

    def __init__(self, config: Path) -> None:
        self.log = config.parent / "log"
        address = str(config.parent / "notify")
        self.channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.channel.bind(address)
        self.channel.settimeout(GUARD_S)
        self.process = subprocess.Popen(
            [PGHOT, "daemon", "-c", str(config)],
            env={**os.environ, "NOTIFY_SOCKET": address},
            stderr=self.log.open("w"),
        )

    def await_notice(self, wanted: str) -> None:
        while wanted not in self.channel.recv(4096).decode().splitlines():
            pass

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def await_event(self, name: str) -> dict[str, object]:
        def logged() -> list[dict[str, object]]:
            return [event for event in self.events() if event["event"] == name]

        until(logged, f"event '{name}'", self.log.read_text)
        return logged()[0]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(GUARD_S)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def daemon(tmp_path: Path, tracked: Tracked, port: int) -> Iterator[Daemon]:
    running = Daemon(configuration(tmp_path, tracked, port))
    try:
        running.await_notice("READY=1")
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
        running.process.wait()
        running.channel.close()
