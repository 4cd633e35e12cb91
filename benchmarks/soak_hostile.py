"""A daemon among hostile neighbours: `python benchmarks/soak.py hostile` (SOAK_S=3600, SOAK_PROGRAMS=40, SOAK_DIR=...).

The daemon watches programs that come and go under `swapins` (a dry run, nothing is moved). They have odd names, map
files with odd names, start and end threads, and become themselves again by exec. Beside them, from processes of their
own: neighbours who hold connections to both servers, knock without a pause, send garbage, halves and megabytes, ask
for 100,000 pages every millisecond, and do not read. Every ten seconds the configuration is exchanged and SIGHUP sent:
for a good one, garbage, a FIFO, or a directory.

Attacks come and go, two minutes each. In the calm minutes as many programs take the processor without attacking, which
tells what that does to the rounds. As root the attackers are another user, whose group may use the socket. Judged by

    late     the share of rounds that began later than two intervals after the one before
    memory   resident, the last sixth beside the second, as in the other soaks
    lost     programs of ours that lived for some seconds and that `status` does not have; events that were dropped
    log      bytes a minute
    honest   how long an honest consumer and a scrape had to wait, once a second
"""

from __future__ import annotations

import contextlib
import ctypes
import grp
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pghot.daemon.client import ask
from pghot.errors import PghotError
from soak import MOST_GROWTH, facts_of, growth

PHASE_S = 120.0
RELOAD_S = 10.0
NOTE_S = 10.0
LIFE_S = 60.0
NOBODY = 65534  # the user and group that the attackers are
KNOWN_S = (
    15.0  # by then a program must be in `status`: new programs are asked for each second, later every tenth
)
# Bars. A late round is one more than the calm minutes have, by this share of all.
MOST_LATE = 0.01
MOST_LOG_BYTES = 64 << 10  # a minute
MOST_DESCRIPTORS = 160  # for visitors: 64 consumers, 80 scrapes, and some on their way

ODD = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>
static void *idle(void *unused) { usleep(1000); return unused; }
int main(int argc, char **argv)
{
	static const char *names[] = {"soak\\n\\x1b[31m", "soak\\xff\\xfe)", "soak\\") R 1 1", "soak\\"}<b>&"};
	int turns = atoi(argv[2]), pages = 16, fd = open(argv[1], O_RDWR | O_CREAT, 0600);
	unsigned sum = 0;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, names[turns % 4]);
	if (fd < 0)
		return 1;
	for (int i = 0; i < pages; i++) {
		char page[4096] = {1};
		if (pwrite(fd, page, sizeof page, i << 12) != sizeof page)
			return 1;
	}
	fsync(fd);
	for (int turn = 0;; turn++) {
		pthread_t thread[8];
		int started = 0;
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		volatile char *memory = mmap(NULL, pages << 12, PROT_READ, MAP_PRIVATE, fd, 0);
		for (int i = 0; i < pages; i++)
			sum += memory[i << 12];
		while (started < 8 && !pthread_create(&thread[started], NULL, idle, NULL))
			started++;
		while (started)
			pthread_join(thread[--started], NULL);
		munmap((void *)memory, pages << 12);
		if (turn == 20) {
			char next[16] = {'0' + (turns + 1) % 4};
			execl("/proc/self/exe", argv[0], argv[1], next, NULL);
		}
		usleep(500000);
	}
	return sum;
}
"""
# What the program's file is called: maps shows it with \\n escaped, and everything else as it is.
ODD_FILES = (
    b"x \n00400000-00500000 rw-p 0 0:0 0",
    b"\x1b]0;a\x07",
    b"\xff\xfe",
    b" anon_inode:kvm-vcpu:0",
    b"<b>&\"'",
)


def hostile() -> dict[str, Any]:
    """Run it; the figures, with `failed` naming the bars that were missed."""
    seconds, programs = float(os.environ.get("SOAK_S", 3600)), int(os.environ.get("SOAK_PROGRAMS", 40))
    import tempfile

    with tempfile.TemporaryDirectory(prefix="pghot-soak", dir=os.environ.get("SOAK_DIR")) as scratch:
        place = Path(scratch)
        place.chmod(0o755)
        odd = place / "odd"
        words = ["cc", "-O1", "-pthread", "-x", "c", "-", "-o", str(odd)]
        subprocess.run(words, input=ODD, text=True, check=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        _configure(place, "good", port)
        pghot = str(Path(sys.executable).with_name("pghot"))
        with open(place / "log", "w") as log:
            daemon = subprocess.Popen(
                [pghot, "daemon", "-c", str(place / "pghot.toml")], stderr=log, stdout=log
            )
        try:
            while not (place / "s").exists():
                if daemon.poll() is not None:
                    raise SystemExit((place / "log").read_text())
                time.sleep(0.1)
            found = Soak(place, daemon.pid, odd, port, programs).run(seconds)
        finally:
            daemon.send_signal(signal.SIGTERM)
            code = daemon.wait()
    return judged({**found, "seconds": seconds, "exit_code": code})


def judged(found: dict[str, Any]) -> dict[str, Any]:
    """The figures with `failed`."""
    failed = [
        name
        for name, wrong in (
            ("late", found["late_hostile"] > found["late_calm"] + MOST_LATE),
            ("memory", found["resident_kib_ratio"] > MOST_GROWTH),
            ("descriptors", found["descriptors_hostile"] > found["descriptors_calm"] + MOST_DESCRIPTORS),
            ("threads", found["threads_ratio"] > MOST_GROWTH),
            ("lost", found["programs_lost"] + found["events_dropped"] > 0),
            ("log", found["log_bytes_a_minute"] > MOST_LOG_BYTES or not found["log_is_json"]),
            ("honest", found["consumer_failed"] + found["scrape_failed"] > 0.02 * found["asked"]),
            ("exit", found["exit_code"] != 0),
        )
        if wrong
    ]
    return {**found, "failed": failed}


def _configure(place: Path, kind: str, port: int) -> None:
    """Put a configuration of this kind in place, at once."""
    path, fresh = place / "pghot.toml", place / "fresh"
    if path.is_dir():
        path.rmdir()
    if kind == "fifo":
        os.mkfifo(fresh)
    elif kind == "directory":
        path.unlink(missing_ok=True)
        fresh.mkdir()
    elif kind == "garbage":
        fresh.write_bytes(random.randbytes(1000))
    else:
        fresh.write_text(
            f"""
sources = ["swapins"]
kinds = ["anon", "file"]
tracked = "8 GiB"
[targets]
names = ["soak*"]
[service]
socket = "{place}/s"
socket_group = "{grp.getgrgid(NOBODY if os.geteuid() == 0 else os.getegid()).gr_name}"
metrics = "127.0.0.1:{port}"
journal = "{place}/daemon.pghot-journal"
"""
        )
    os.rename(fresh, path)


class Soak:
    """One run: programs, attackers by turns, honest questions, and what was noted."""

    def __init__(self, place: Path, daemon: int, odd: Path, port: int, programs: int) -> None:
        self.place, self.daemon, self.odd, self.port, self.programs = place, daemon, odd, port, programs
        self.alive: dict[int, tuple[subprocess.Popen[bytes], float]] = {}
        self.attackers: list[int] = []
        self.noted: list[dict[str, float]] = []
        self.rounds = {"calm": [0, 0], "hostile": [0, 0]}
        self.waits: dict[str, list[float]] = {"consumer": [], "scrape": []}
        self.failures = {"consumer": 0, "scrape": 0}
        self.lost: set[int] = set()
        self.started = self.reloads = 0
        self.hostile = False
        self._last: tuple[int, int] | None = None
        self._status: dict[str, Any] = {}
        self._asked_s = 0.0

    def run(self, seconds: float) -> dict[str, Any]:
        began = time.monotonic()
        jobs = [
            _every(0.5, self.turn_over),
            _every(1.0, self.ask),
            _every(RELOAD_S, self.reload),
            _every(min(NOTE_S, seconds / 24), self.note),
        ]
        phase, phase_s = "calm", min(PHASE_S, seconds / 4)
        try:
            self.attack(False)
            while (now := time.monotonic() - began) < seconds:
                if (wanted := ("calm", "hostile")[int(now / phase_s) % 2]) != phase:
                    self.ask()
                    self.note_rounds(phase)
                    phase = wanted
                    self.attack(phase == "hostile")
                for job in jobs:
                    next(job)
                time.sleep(0.05)
            self.note_rounds(phase)
        finally:
            self.end()
        return self.figures(time.monotonic() - began)

    def turn_over(self) -> None:
        """Programs that have lived long enough end, others begin, a few at a time."""
        now = time.monotonic()
        for pid, (process, since) in list(self.alive.items()):
            if process.poll() is not None or now - since > LIFE_S * random.uniform(0.5, 1.5):
                process.kill()
                process.wait()
                del self.alive[pid]
                break
        if len(self.alive) < self.programs:
            name = b"f%d" % self.started + ODD_FILES[self.started % len(ODD_FILES)]
            file = os.fsencode(self.place) + b"/" + name
            process = subprocess.Popen([self.odd, file, str(self.started % 4)])
            self.alive[process.pid] = process, now
            self.started += 1

    def ask(self) -> None:
        """As an honest consumer and an honest scrape."""
        for name, question in (("consumer", self._ask_consumer), ("scrape", self._ask_scrape)):
            began = time.monotonic()
            try:
                question()
            except (OSError, ValueError, PghotError):
                self.failures[name] += 1
            self.waits[name].append(time.monotonic() - began)

    def _ask_consumer(self) -> None:
        self._status, self._asked_s = ask(self.place / "s", {"get": "status"})[0], time.monotonic()

    def _ask_scrape(self) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            if b"pghot_rounds_total" not in answer.read():
                raise ValueError("no metrics")

    def reload(self) -> None:
        kind = ("good", "garbage", "good", "fifo", "good", "directory")[self.reloads % 6]
        _configure(self.place, kind, self.port)
        os.kill(self.daemon, signal.SIGHUP)
        self.reloads += 1

    def note(self) -> None:
        self.noted.append(
            {
                "programs": len(self.alive),
                "hostile": self.hostile,
                **facts_of(self.daemon, self.place / "daemon.pghot-journal"),
            }
        )
        known = {program["pid"] for program in self._status.get("programs", ())}
        if self._status:
            old = {pid for pid, (_, since) in self.alive.items() if self._asked_s - since > KNOWN_S}
            self.lost |= {pid for pid in old - known if Path(f"/proc/{pid}/maps").exists()}
        said = {**self.noted[-1], "late": self._status.get("rounds_late", 0), "lost": len(self.lost)}
        print(" · ".join(f"{key} {value:,.0f}" for key, value in said.items()), file=sys.stderr)

    def note_rounds(self, phase: str) -> None:
        """Rounds since the last call count to this phase."""
        if not self._status:
            return
        now = self._status["rounds"], self._status["rounds_late"]
        if self._last is not None:
            for i in range(2):
                self.rounds[phase][i] += now[i] - self._last[i]
        self._last = now

    def attack(self, wanted: bool) -> None:
        """Let the attackers begin, or in their place as many programs that only take the processor."""
        self.hostile = wanted
        for pid in self.attackers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.attackers = [
            _fork(attack if wanted else burn, str(self.place / "s"), self.port) for attack in ATTACKS.values()
        ]

    def end(self) -> None:
        for pid in self.attackers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for process, _ in self.alive.values():
            process.kill()
            process.wait()

    def figures(self, seconds: float) -> dict[str, Any]:
        log = (self.place / "log").read_text()
        lines = log.splitlines()
        dropped = sum(
            value
            for source in self._status["sources"]
            for name, value in source["counters"].items()
            if "dropped" in name or "corrupt" in name
        )
        return {
            "programs": self.programs,
            "started": self.started,
            "reloads": self.reloads,
            "rounds_calm": self.rounds["calm"][0],
            "rounds_hostile": self.rounds["hostile"][0],
            **{f"late_{name}": round(late / max(1, all_), 5) for name, (all_, late) in self.rounds.items()},
            **growth(self.noted),
            "descriptors_calm": max((each["descriptors"] for each in self.noted if not each["hostile"]), default=0),
            "descriptors_hostile": max((each["descriptors"] for each in self.noted if each["hostile"]), default=0),
            "resident_mib": [round(each["resident_kib"] / 1024) for each in self.noted[:: len(self.noted) // 12 + 1]],
            "cpu_percent": round(100 * (self.noted[-1]["cpu_s"] - self.noted[0]["cpu_s"]) / seconds, 1),
            "effort": self._status["budget"]["effort"],
            "sightings": self._status["sources"][0]["counters"]["pghot_sightings"],
            "programs_lost": len(self.lost),
            "events_dropped": dropped,
            "consumers_dropped": self._status["consumers_dropped"],
            "consumers_refused": self._status["consumers_refused"],
            "log_bytes_a_minute": round(len(log.encode()) / seconds * 60),
            "log_is_json": all(_is_json(line) for line in lines),
            "events": {name: sum(f'"event": "{name}"' in line for line in lines) for name in EVENTS},
            "asked": len(self.waits["scrape"]),
            **{f"{name}_failed": count for name, count in self.failures.items()},
            **{f"{name}_wait_s": _quantiles(waits) for name, waits in self.waits.items()},
        }  # fmt: skip


EVENTS = ("reloaded", "reload refused", "degraded", "unexpected", "effort lowered", "programs")


def _is_json(line: str) -> bool:
    with contextlib.suppress(ValueError):
        return isinstance(json.loads(line), dict)
    return False


def _quantiles(waits: list[float]) -> dict[str, float]:
    ordered = sorted(waits)
    return {name: round(ordered[int(share * (len(ordered) - 1))], 3) for name, share in
            (("median", 0.5), ("p99", 0.99), ("most", 1.0))}  # fmt: skip


def _fork(act: Callable[[str, int], None], path: str, port: int) -> int:
    """The pid of a process that does this as another user, if we are root, and ends with us."""
    if pid := os.fork():
        return pid
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        os.nice(10)
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        act(path, port)
    finally:
        os._exit(1)


def _every(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Acts at most so often, whenever it is asked for the next."""
    due = time.monotonic()
    while True:
        if time.monotonic() >= due:
            act()
            due = time.monotonic() + seconds
        yield


# ---- attackers: each in a process of its own, until it is killed


def burn(path: str, port: int) -> None:
    """No attack: the processor alone."""
    while True:
        pass


def hold_metrics(path: str, port: int) -> None:
    """1,024 connections that say nothing; those that are closed are opened again."""
    held: list[socket.socket] = []
    while True:
        held = [each for each in held if not _closed(each)]
        while len(held) < 1024:
            with contextlib.suppress(OSError):
                held.append(_tcp(port))
        time.sleep(0.2)


def knock(path: str, port: int) -> None:
    """Connections to both servers, closed at once, without a pause."""
    while True:
        with contextlib.suppress(OSError):
            _tcp(port).close()
        with contextlib.suppress(OSError):
            _unix(path).close()


def garbage(path: str, port: int) -> None:
    """Bytes of all kinds to both, some of them a byte at a time."""
    heads = (b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"A" * 100_000, b"GET /" + b"%00" * 2000 + b"\r\n\r\n")
    lines = (b'{"get":' * 9000, b"x" * (1 << 22), b'{"get": "hot", "top": ' + b"9" * 60_000 + b"}\n", b"\xff\n" * 999,
             b'{"get": "status"')  # fmt: skip
    slow = [_tcp(port) for _ in range(4)]
    while True:
        for connect, said in ((lambda: _tcp(port), heads), (lambda: _unix(path), lines)):
            with contextlib.suppress(OSError), connect() as channel:
                channel.setblocking(False)
                channel.send(random.choice(said) + random.randbytes(random.randrange(100)))
        for i, each in enumerate(slow):
            try:
                each.send(b"G")
            except OSError:
                with contextlib.suppress(OSError):
                    slow[i] = _tcp(port)
        time.sleep(0.01)


def demand(path: str, port: int) -> None:
    """Sixteen consumers that ask for 100,000 pages every millisecond, half of which do not read; others ask in turn."""
    request = b'{"get": "hot", "top": 100000, "by": "page", "every_ms": 1}\n'
    held: list[socket.socket] = []
    while True:
        held = [
            each
            for i, each in enumerate(held)
            if not (i % 2 and _drained(each)) and not _closed(each, i % 2 == 0)
        ]
        while len(held) < 16:
            try:
                channel = _unix(path)
                channel.send(request)
                held.append(channel)
            except OSError:
                break
        for _ in range(20):
            with contextlib.suppress(OSError), _unix(path) as once:
                once.send(b'{"get": "hot", "top": %d, "form": "arrow"}\n' % random.randrange(1, 100_000))
            time.sleep(0.001)


ATTACKS: dict[str, Callable[[str, int], None]] = {
    "hold_metrics": hold_metrics,
    "knock": knock,
    "garbage": garbage,
    "demand": demand,
}


def _tcp(port: int) -> socket.socket:
    channel = socket.socket()
    channel.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        channel.connect(("127.0.0.1", port))
    return channel


def _unix(path: str) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX)
    channel.setblocking(False)
    try:
        channel.connect(path)
    except OSError:
        channel.close()
        time.sleep(0.001)
        raise
    return channel


def _closed(channel: socket.socket, unread: bool = False) -> bool:
    """Whether the daemon has closed it; of one that does not read, only an error tells."""
    try:
        if unread:
            channel.send(b"")
            return False
        if channel.recv(1, socket.MSG_PEEK) == b"":
            channel.close()
            return True
    except BlockingIOError:
        return False
    except OSError:
        channel.close()
        return True
    return False


def _drained(channel: socket.socket) -> bool:
    """Read all that is there; whether it is closed."""
    try:
        while channel.recv(1 << 20):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    channel.close()
    return True
