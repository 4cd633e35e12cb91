"""What the tests inside the guest share: the program with a hot set, pghot as a process, and where pages are."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pytest
from forked import Command, Forked

from pghot.kernel.move_pages import query_nodes
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.nodes import read_nodes
from pghot.live.machine.room import Room
from waiting import GUARD_S, until

SHARED = Path(os.environ.get("PGHOT_GUEST", "/tmp"))  # writable, seen from outside
PGHOT = str(Path(sys.executable).with_name("pghot"))
FORK_SERVER = Path(os.environ.get("PGHOT_FORK_SERVER", "/tmp"))  # its socket, see tests/guest/fork_server.py
PGHOT_MIB = 80  # what pghot itself takes of node 0
ROOT = SysRoot()
GROUP = Path("/sys/fs/cgroup/pghot-test")
BALANCING = Path("/proc/sys/kernel/numa_balancing")
STATUS_LINE = re.compile(r"^\d+ s · \d+ programs?", re.MULTILINE)


def kept_mib() -> float:
    """What promotion leaves free on node 0: its high watermark, and what CPUs take into their lists while pages move,
    and counters hide. The watermark depends on how much of each node the initramfs still had when it was set."""
    nodes = read_nodes(ROOT)
    room = Room(ROOT, nodes, 0.01)
    return float(room.floor_pages[0] + room.drift_pages + room.refill_pages[0]) / 256


@dataclass
class Where:
    """Shares of the hot and of the cold pages that are on a node."""

    hot: float
    cold: float


class Program:
    """tests/guest/program.c with `mib` MiB on `node`, of which `hot_share` is touched.

    words    without "busy" it rests for a while after each pass ("rest=", "calm"); one that empties the TLB ("flush"),
             for sources that look often, never does
    command  another program that takes the same words and says the same
    """

    def __init__(
        self,
        mib: int = 256,
        hot_share: float = 0.25,
        node: int = 1,
        *words: str,
        command: Sequence[str] = (str(SHARED / "program"),),
    ) -> None:
        self.progress = Path(f"/run/progress-{time.monotonic_ns()}")
        rest = () if {"busy", "flush"} & set(words) else ("rest=5",)
        arguments = (str(mib), str(hot_share), str(node), f"progress={self.progress}", *rest, *words)
        self.process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        facts = json.loads(self.process.stdout.readline())
        self.pid, self.pages, self.set = int(facts["pid"]), int(facts["pages"]), 0
        self.run, self.every = int(facts["run"]), int(facts["every"])
        self.address = (
            np.array(facts["addresses"], np.uint64)
            if "addresses" in facts
            else np.uint64(facts["start"]) + np.arange(self.pages, dtype=np.uint64) * np.uint64(4096)
        )

    def hot(self) -> npt.NDArray[np.bool_]:
        """bool[pages]: what the program touches now."""
        return np.arange(self.pages) // self.run % self.every == self.set % self.every

    def nodes(self) -> npt.NDArray[np.int32]:
        """Node of each page."""
        return query_nodes(self.pid, self.address)

    def on(self, node: int) -> Where:
        there, hot = self.nodes() == node, self.hot()
        return Where(float(there[hot].mean()), float(there[~hot].mean()))

    def set_on(self, node: int, offset: int = 0) -> float:
        """Share of the hot set, or of the one before (-1) or after it, that is on a node.

        The kernel is asked for no other pages: it takes long under emulation.
        """
        chosen = np.arange(self.pages) // self.run % self.every == (self.set + offset) % self.every
        return float((query_nodes(self.pid, self.address[chosen]) == node).mean())

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)
        if number == signal.SIGUSR1:
            self.set += 1

    def passes(self) -> tuple[int, float]:
        """How often it has touched its hot set, and when it said so."""
        words = self.progress.read_text().split()
        return int(words[0]), float(words[1])

    def goes_on(self, reports: int = 2) -> None:
        """Wait until it has told its progress so often. Between the first report and the second lies a whole pass."""
        told: set[str] = set()

        def enough() -> bool:
            if self.progress.exists() and (words := self.progress.read_text()) not in before:
                told.add(words)
            return len(told) >= reports

        before = {self.progress.read_text()} if self.progress.exists() else set()
        until(enough, f"{reports} reports of the program", lambda: told)

    def arrives(
        self, share: float = 0.95, node: int = 0, run: Pghot | None = None, every_s: float = 0.5
    ) -> float:
        """Wait until more than so much of its hot set is on a node; returns after how many seconds.

        run  the pghot that moves it: when it ends before, nothing is waited for
        """

        arrived, what = lambda: self.set_on(node) > share, f"{share:.0%} of the hot pages on node {node}"
        return (
            run.until(arrived, what, every_s)
            if run
            else until(arrived, what, lambda: self.set_on(node), every_s)
        )

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def beside(program: Program, yardstick: Program) -> float:
    """Speed of a program as a share of the yardstick's, which runs at the same time: whatever else takes the emulated
    CPUs, pghot itself too, takes them from both. Let both run on one CPU: emulated ones are not equally fast."""
    both = (program, yardstick)
    for each in both:
        each.goes_on()
    before = [each.passes() for each in both]
    for each in both:
        each.goes_on(6)
    after = [each.passes() for each in both]
    speeds = [(b[0] - a[0]) / (b[1] - a[1]) for a, b in zip(before, after, strict=True)]
    return speeds[0] / speeds[1]


class Pghot:
    """A running `pghot` command, forked from one that has imported it.

    environment  more variables; of PYTHONPATH only what lies there and was not imported yet is found
    nobody       as a user with no rights at all
    """

    def __init__(
        self, *arguments: str, environment: Mapping[str, str] = MappingProxyType({}), nobody: bool = False
    ) -> None:
        self.began, self._arguments = time.monotonic(), arguments
        # Files, not pipes: what is not read does not stop it.
        self._out, self._err = (os.fdopen(os.memfd_create(name), "w+") for name in ("out", "err"))
        command = Command(arguments, {**os.environ, **environment}, nobody)
        self.process = Forked(FORK_SERVER, command, self._out.fileno(), self._err.fileno())

    def said(self) -> str:
        """What it wrote to stderr so far."""
        return Path(f"/proc/self/fd/{self._err.fileno()}").read_text()

    def sightings(self) -> int:
        """How many it says it has had so far."""
        told = re.findall(r"([0-9,]+) sightings", self.said())
        return int(told[-1].replace(",", "")) if told else 0

    def goes_on(self, lines: int) -> None:
        """Wait until it has written so many more status lines, seconds apart: it refreshes its targets in between."""
        before = len(STATUS_LINE.findall(self.said()))
        self.until(lambda: len(STATUS_LINE.findall(self.said())) >= before + lines, f"{lines} status lines")

    def until(self, holds: Callable[[], object], what: str, every_s: float = 0.5) -> float:
        """Wait for what this command brings about; when it ends before, nothing is waited for. Returns the seconds."""

        def held() -> object:
            assert self.process.poll() is None, self.said()
            return holds()

        return until(held, what, lambda: self.said()[-2000:], every_s)

    def finish(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        """Exit code, stdout and stderr after a signal (0: none, it ends by itself)."""
        if number and self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(GUARD_S)
        except TimeoutError:
            self.process.send_signal(signal.SIGABRT)  # it says where it is (fork_server.py)
            self.process.wait()
            pytest.fail(f"{self._arguments} did not end within {GUARD_S:g} s:\n{self.said()[-6000:]}")
        return code, *map(_read, (self._out, self._err))

    def __enter__(self) -> Pghot:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._out.close()
        self._err.close()


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def pghot(*arguments: str, nobody: bool = False) -> tuple[int, str, str]:
    """Run a command to its end."""
    with Pghot(*arguments, nobody=nobody) as command:
        return command.finish(0)


class Daemon(Pghot):
    """A running `pghot daemon` that applies.

    targets, more  lines of its configuration: the table [targets] without its head, or whole tables
    sources        none with DAMON as the mover
    """

    def __init__(self, place: Path, targets: str, sources: Sequence[str], more: str = "") -> None:
        self.place, self._targets, self._more = place, targets, more
        self.configure(sources)
        super().__init__("daemon", "-c", str(place / "pghot.toml"))

    def configure(self, sources: Sequence[str]) -> None:
        """Write the configuration, for the start or for a SIGHUP."""
        (self.place / "pghot.toml").write_text(
            f"""
apply = true
{f"sources = {json.dumps(sources)}" if sources else ""}
{self._targets if self._targets.lstrip().startswith("[") else "[targets]" + chr(10) + self._targets}
[service]
socket = "{self.place}/pghot.sock"
metrics = ""
journal = "{self.place}/daemon.pghot-journal"
max_cpu_percent = 400
{self._more}
"""
        )

    def asked(self, *words: str) -> str:
        """What a command says that asks the daemon, once it has an answer: a busy one may take longer than it waits."""
        answers: list[tuple[int, str, str]] = []

        def answered() -> bool:
            assert self.process.poll() is None, self.said()
            answers.append(pghot(*words, "--socket", f"{self.place}/pghot.sock"))
            return answers[-1][0] == 0

        until(answered, "an answer of the daemon", lambda: answers[-1], 0.5)
        return answers[-1][1]

    def status(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.asked("status", "--json"))
        return facts

    def degraded(self, part: str) -> list[str]:
        """What is wrong with a part of it now."""
        return [each["problem"] for each in self.status()["degraded"] if each["part"] == part]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def busy_seconds() -> float:
    """What all CPUs have worked since the boot."""
    user, nice, system, _idle, _iowait, *interrupts = map(
        int, Path("/proc/stat").read_text().partition("\n")[0].split()[1:8]
    )
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def free_mib(node: int) -> float:
    """Free memory of a node."""
    for line in Path(f"/sys/devices/system/node/node{node}/meminfo").read_text().splitlines():
        if "MemFree" in line:
            return int(line.split()[3]) / 1024
    raise KeyError(node)


def vmstat(name: str) -> int:
    """A counter of /proc/vmstat."""
    for line in Path("/proc/vmstat").read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    raise KeyError(name)


def huge_mib(pid: int) -> float:
    """How much of a program's memory is huge pages."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("AnonHuge"))


def knobs() -> dict[str, str]:
    """Everything that pghot may change, to compare before and after."""
    scan = Path("/sys/kernel/debug/sched/numa_balancing")
    files = [
        BALANCING, Path("/proc/sys/kernel/numa_balancing_promote_rate_limit_MBps"),
        Path("/sys/kernel/mm/numa/demotion_enabled"), *sorted(scan.iterdir()),
        Path("/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds"),
    ]  # fmt: skip
    return {str(path): path.read_text().strip() for path in files if path.exists()}


def report(kind: str, row: dict[str, Any]) -> None:
    """Add a row to a table that the outside prints and keeps."""
    with open(SHARED / f"{kind}.jsonl", "a") as file:
        file.write(json.dumps(row) + "\n")


def add_row(what: str, where: Where, seconds: float, facts: dict[str, Any], **more: object) -> None:
    """Add a row to the table of `make guest-table`.

    facts  what the run said, as JSON
    """
    source = facts["sources"][0]
    row = {
        "program": what,
        "by": source["name"],
        "coverage": where.hot,
        "cold_share": where.cold,
        "seconds": seconds,
    }
    row |= {
        "cpu_share": facts["counters"]["pghot_cpu_seconds"] / facts["seconds"],
        "sampling": source["sampling"],
    }
    report("ordinary programs", row | more)


def rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]


@contextmanager
def inside_the_group() -> Iterator[None]:
    """What is started here is born in the group, so that its memory is charged to it."""
    Path("/sys/fs/cgroup/cgroup.subtree_control").write_text("+memory")
    GROUP.mkdir(exist_ok=True)
    (GROUP / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        Path("/sys/fs/cgroup/cgroup.procs").write_text(str(os.getpid()))
