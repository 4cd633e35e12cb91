"""The suites inside the guest, from outside: each kind of machine boots once for all tests marked with its name."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from debian import CannotFetchError, fetch, release
from vm import CACHE, MACHINES, CannotBootError, Guest

TEST_LIMIT_S = 7200  # of one test; beyond the guard of tests/waiting.py, which names what did not come
HERE = Path(__file__).parent
ROOT = HERE.parent.parent
# The program and what it loads, as of Debian 12 and 13.
REDIS = ("redis-tools", "libjemalloc2", "liblua5.1-0", "liblzf1", "lua-cjson", "libatomic1")
DIED_EARLY = re.compile(r"^qemu-system-\w+: .*Assertion .* failed", re.MULTILINE)
# Reading files is slow inside: pytest loads no more than it needs, and what lies above stays out.
OPTIONS = ("-p", "pytest_timeout", "-p", "no:cacheprovider", "--color=no", f"--confcutdir={HERE}")
# What is compiled is compiled out here, where it is fast, and carried inside: Python's own code, and kernels for a
# plain CPU, as the emulated one is another than ours.
COMPILED = {"pycache": CACHE / "pycache", "numba": CACHE / "numba"}
ENVIRONMENT = {
    "NUMBA_CPU_NAME": "generic",
    "NUMBA_CPU_FEATURES": "",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTHONDONTWRITEBYTECODE": "",
}


def environment(pycache: Path, numba: Path) -> dict[str, str]:
    return {**ENVIRONMENT, "PYTHONPYCACHEPREFIX": str(pycache), "NUMBA_CACHE_DIR": str(numba)}


OUTSIDE = {**os.environ, **environment(**COMPILED)}
INSIDE = {
    **environment(**{name: Path("/run", name) for name in COMPILED}),
    "PGHOT_FORK_SERVER": "/run/pghot-forks",
}


@dataclass(frozen=True, slots=True)
class Inside:
    """A test inside: its kind of machine, its id, and whether only `make test-guest` runs it."""

    kind: str
    test: str
    long: bool


def inside_tests() -> list[Inside]:
    """Every test inside, as pytest itself collects them."""
    command = [sys.executable, "-m", "pytest", *OPTIONS, "--collect-only", str(HERE / "inside")]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**OUTSIDE, "PGHOT_GUEST": "collect"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the tests inside cannot be collected:\n{done.stdout}{done.stderr}")
    words = [line.split(maxsplit=3) for line in done.stdout.splitlines() if line.startswith("inside ")]
    found = [Inside(kind, test, length == "long") for _, kind, length, test in words]
    return sorted(found, key=lambda each: list(MACHINES).index(each.kind))


@dataclass
class Result:
    """What became of one test inside: "passed", "failed" or "skipped", why, how long it took, and what the guest's
    CPUs worked since the one before it ended."""

    outcome: str
    text: str = ""
    seconds: float = 0.0
    cpu_s: float = 0.0


@dataclass
class Booted:
    """What a boot brought back: results by test id, rows by table, and what became of tests that say nothing."""

    otherwise: Result
    results: dict[str, Result] = field(default_factory=dict)
    tables: dict[str, list[dict[str, object]]] = field(default_factory=dict)


class Suites:
    """Boots each kind once, whatever becomes of it, for the tests that were chosen of it. Two at a time, as a guest
    waits for most of its time: for scans, for ageing, for what a source sees next."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2, "guest")
        self._boots: dict[str, Future[Booted]] = {}

    def begin(self, chosen: Mapping[str, Sequence[str]]) -> None:
        """Boot the kinds that are not, in this order, each for these tests."""
        for kind, tests in chosen.items():
            if kind not in self._boots:
                self._boots[kind] = self._pool.submit(boot, kind, tests)

    def result(self, kind: str, test: str) -> Result:
        """Waits for the boot and all its tests."""
        self.begin({kind: [test]})
        suite = self._boots[kind].result()
        return suite.results.get(test, suite.otherwise)

    @property
    def booted(self) -> dict[str, Booted]:
        """Those that are over."""
        return {kind: boot.result() for kind, boot in self._boots.items() if boot.done()}


@contextmanager
def in_turn(name: str) -> Iterator[None]:
    """Who holds this lock first is waited for, another session too."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / name, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def boot(kind: str, tests: Sequence[str], mark: str = "") -> Booted:
    """Run these tests in the machine of a kind, or without any those with its mark or with another."""
    with in_turn(f"lock-{kind}"):
        shared = CACHE / f"shared-{kind}"
        guest = Guest(MACHINES[kind], [shared], {**INSIDE, "PGHOT_GUEST": str(shared)}, COMPILED)
        try:
            with in_turn("lock"):
                prepare(guest, shared)
                if mark == "guest_table":
                    fetch_redis(shared)
        except CannotBootError as lack:
            return Booted(Result("skipped", f"no guest: {lack}"))
        except subprocess.CalledProcessError as failure:
            return Booted(Result("failed", f"{failure}\n{failure.stderr}"))
        options = [
            *OPTIONS,
            f"--timeout={TEST_LIMIT_S}",
            "--durations=0",
            *(tests or ("-m", mark or kind, str(HERE / "inside"))),
        ]
        command = [sys.executable, str(HERE / "fork_server.py"), *options]
        status, output = guest.run(command, ROOT)
        if status is None and DIED_EARLY.search(output) and not (shared / "results.jsonl").exists():
            # The emulator's own fault, before any test began, in about one boot of fifty.
            status, output = guest.run(command, ROOT)
        (shared / "output.txt").write_text(output)
        return _read(shared, f"the guest never ran this test (status {status}):\n{output[-3000:]}")


def prepare(guest: Guest, shared: Path) -> None:
    """The programs and the compiled kernels. Raises `CannotBootError`, `CalledProcessError`."""
    guest.needs()
    if shutil.which("cc") is None:
        raise CannotBootError("no cc to compile the tests' program with (package gcc)")
    shutil.rmtree(shared, ignore_errors=True)
    shared.mkdir(parents=True)
    outside("cc", "-O1", "-Wall", "-pthread", "-o", str(shared / "program"), str(HERE / "program.c"))
    if shutil.which("javac"):
        outside("javac", "-nowarn", "-d", str(shared), str(HERE / "inside" / "HotArray.java"))
    warm()


def fetch_redis(shared: Path) -> None:
    """Debian's Redis, unpacked once, beside the tests' program; without it its test is skipped."""
    place = CACHE / "redis"
    if not place.exists():
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            try:
                fetch((release(),), REDIS, Path(scratch), ["./usr/bin/redis-check-rdb", "./usr/lib/*.so*"])
            except CannotFetchError as lack:
                print(f"no Redis: {lack}", file=sys.stderr)
                return
            made = Path(scratch) / "made"
            (made / "lib").mkdir(parents=True)
            # One program under three names: it looks at its own.
            shutil.copy(Path(scratch) / "usr/bin/redis-check-rdb", made / "redis-server")
            for library in Path(scratch).glob("usr/lib/*/*.so.*"):
                shutil.copy(library, made / "lib")
            made.rename(place)
    shutil.copytree(place, shared / "redis")


@functools.cache
def warm() -> None:
    """Once for all kinds."""
    outside(sys.executable, str(HERE / "warm.py"))


def outside(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, env=OUTSIDE, check=True, capture_output=True, text=True)


def _read(shared: Path, otherwise: str) -> Booted:
    """The files that tests/guest/inside/conftest.py and helpers.py write."""
    booted = Booted(Result("failed", otherwise))
    tables = defaultdict(list)
    for path in sorted(shared.glob("*.jsonl")):
        tables[path.stem] = [json.loads(line) for line in path.read_text().splitlines()]
    before_s = 0.0
    for row in tables.pop("results", []):
        so_far_s = float(row["cpu_s_so_far"])
        booted.results[str(row["test"])] = Result(
            str(row["outcome"]), str(row["text"]), float(row["seconds"]), so_far_s - before_s
        )
        before_s = so_far_s
    booted.tables = dict(tables)
    return booted
