"""Programs as machines have them: huge pages, random order, threads, many mappings, and old ones.

`make guest-table` runs all of these on two kernels, with what is marked so elsewhere, and writes a table into
docs/live.md; six rows belong to the tests.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers import BALANCING, SHARED, Pghot, Program, Where, add_row, knobs, report, until, vmstat

from pghot.kernel.move_pages import move_pages

SIZES = Path("/sys/kernel/mm/transparent_hugepage")
RATE = Path("/proc/sys/kernel/numa_balancing_promote_rate_limit_MBps")
REDIS = SHARED / "redis"
SCAN = Path("/sys/kernel/debug/sched/numa_balancing/scan_period_min_ms")
# What moves is judged, so of huge pages whole ones are hot. What is cold is touched now and then, `cold` pages in a
# minute: a 4 KiB page about twice in an hour, a huge one every ten minutes. So it is cold by the kernel's measure
# (hot_threshold_ms) and by pghot's (two accesses in 3 s).
PROGRAMS = {
    "4 KiB, single pages": ("run=1", "cold=3000"),
    "4 KiB, runs of 16": ("cold=3000",),
    "huge pages": ("huge", "run=512", "cold=6"),
    "64 KiB folios": ("folios", "cold=600"),
    "half huge pages": ("mixed", "run=512", "cold=6"),
    "locked": ("locked", "cold=3000"),
    "4 threads": ("threads=4", "cold=3000"),
    "10 more mappings": ("mappings=10", "cold=3000"),
    "100 more mappings": ("mappings=100", "cold=3000"),
}
# What is mapped of a file goes in folios as large as its file system likes.
SHARED_ONES = {
    "shared memory": ("shm", "run=1", "cold=3000"),
    "tmpfs file": ("tmpfs=/run/ordinary", "run=1", "cold=3000"),
    "mapped file": (f"file={SHARED}/ordinary", "run=512", "cold=6"),
    # DAMON sees them, in regions; the kernel marks no page that a fork shares for hint faults.
    "forked": ("forks=1", "run=512", "flush"),
}
PROGRAMS |= SHARED_ONES
# The kernel marks none of it.
UNDER_A_POLICY = {policy: (policy, "write", "calm") for policy in ("bound", "preferred")}
TESTED = ("4 KiB, single pages", "huge pages", "100 more mappings")
pytestmark = pytest.mark.guest_table


def marked(programs: tuple[str, ...]) -> list[object]:
    """Each program as a parameter; those in `TESTED` are tests on 6.12, too."""
    return [pytest.param(each, marks=[pytest.mark.two_tiers] * (each in TESTED)) for each in programs]


@contextmanager
def folios_of_64_kib() -> Iterator[None]:
    """Anonymous memory gets these and none of 2 MiB."""
    before = {}
    for size, value in (("2048kB", "never"), ("64kB", "always")):
        switch = SIZES / f"hugepages-{size}/enabled"
        before[switch] = switch.read_text().partition("[")[2].partition("]")[0]
        switch.write_text(value)
    try:
        yield
    finally:
        for switch, value in before.items():
            switch.write_text(value)


@contextmanager
def a_file(path: Path, mib: int) -> Iterator[None]:
    """A file that is as large as the program's memory, or one that the program makes as large."""
    path.write_bytes(bytes(mib << 20))
    try:
        yield
    finally:
        path.unlink()


@contextmanager
def running(what: str, *words: str) -> Iterator[Program]:
    """One of `PROGRAMS`, or of `UNDER_A_POLICY`."""
    with ExitStack() as stack:
        if what == "64 KiB folios":
            stack.enter_context(folios_of_64_kib())
        words = (*(PROGRAMS | UNDER_A_POLICY)[what], *words)
        for word in words:
            if "=/" in word:
                stack.enter_context(a_file(Path(word.partition("=")[2]), 64 * (what == "mapped file")))
        yield stack.enter_context(Program(64, 0.25, 1, "random", *words))


def applied(program: Program, journal: Path, source: str = "faults", *words: str) -> Pghot:
    options = ("--source", source, "-p", str(program.pid), "--journal", str(journal), "--json")
    return Pghot("run", "--apply", *options, *words)


def bring(
    program: Program,
    what: str,
    journal: Path,
    source: str = "faults",
    *words: str,
    once_at_work: Callable[[], None] | None = None,
) -> None:
    """Run `pghot run --apply`: the hot pages come, the cold ones stay, but for those that DAMON reports with them."""
    before, by_kernel = knobs(), vmstat("pgpromote_success")
    with applied(program, journal, source, *words) as run:
        if once_at_work:
            run.goes_on(1)
            once_at_work()
        program.arrives(run=run)
        seconds = time.monotonic() - run.began
        run.goes_on(2)
        where = program.on(0)
        code, out, err = run.finish()
    facts = json.loads(out)
    by_kernel = vmstat("pgpromote_success") - by_kernel
    add_row(what, where, seconds, facts, promoted_by_the_kernel=by_kernel)
    assert code == 130, err
    assert where.hot >= 0.95
    assert where.cold <= 0.02 or source == "damon"
    assert knobs() == before, "every knob is back"


@pytest.mark.parametrize("what", marked(tuple(PROGRAMS)))
def test_hot_pages_in_random_order(what: str, tmp_path: Path) -> None:
    words = ("--kinds", "anon,file") if what == "mapped file" else ()
    with running(what) as program:
        bring(program, what, tmp_path / "j.pghot-journal", "damon" if what == "forked" else "faults", *words)


@pytest.mark.parametrize("what", ["4 KiB, single pages", "huge pages", "64 KiB folios"])
def test_hot_pages_that_are_written(what: str, tmp_path: Path) -> None:
    with running(what, "write", "calm") as program:
        bring(program, what, tmp_path / "j.pghot-journal", "softdirty")


@pytest.mark.parametrize(
    "what, source, moved",
    [
        ("bound", "faults", 0),
        ("bound", "softdirty", 0),
        ("preferred", "faults", 0),
        ("preferred", "softdirty", 1),
    ],
)
def test_memory_under_a_policy(what: str, source: str, moved: int, tmp_path: Path) -> None:
    """Bound memory stays where its owner wants it. A preference binds nobody, but keeps hint faults away."""
    began = time.monotonic()
    with running(what) as program, applied(program, tmp_path / "j.pghot-journal", source) as run:
        run.goes_on(3)
        where, seconds = program.on(0), time.monotonic() - began
        _, out, _ = run.finish()
    add_row(f"{what} to the slow node", where, seconds, json.loads(out))
    assert where.hot == pytest.approx(moved, abs=0.05)
    assert where.cold <= 0.02


def test_other_pages_become_hot(tmp_path: Path) -> None:
    """Those that were hot stay while there is room; cold are those that never were hot."""
    with running("4 KiB, runs of 16") as program, applied(program, tmp_path / "j.pghot-journal") as run:
        program.arrives(run=run)
        program.signal(signal.SIGUSR1)
        seconds = program.arrives(run=run)
        run.goes_on(2)
        where = Where(program.set_on(0), program.set_on(0, 1))
        _, out, _ = run.finish()
    add_row("hot set moved", where, seconds, json.loads(out))
    assert where.hot >= 0.95
    assert where.cold <= 0.02


def test_an_array_of_numpy(tmp_path: Path) -> None:
    command = (sys.executable, str(Path(__file__).with_name("numpy_program.py")))
    with Program(64, 0.25, 1, command=command) as program:
        bring(program, "Python with NumPy", tmp_path / "j.pghot-journal")


def test_an_array_in_the_heap_of_java(tmp_path: Path) -> None:
    java = shutil.which("java")
    if java is None or not (SHARED / "HotArray.class").exists():
        pytest.skip("no JDK to compile and run a Java program with: java and javac (package default-jdk)")
    options = ("-Xms160m", "-Xmx160m", "-Xmn16m", "-XX:-UseCompressedOops", "-XX:+UseSerialGC")
    command = (java, *options, "-cp", str(SHARED), "HotArray")
    with Program(64, 0.25, 1, command=command) as program:
        program.goes_on()  # in compiled code
        move_pages(program.pid, program.address, np.full(program.pages, 1, np.int32))
        bring(program, "Java, in the heap", tmp_path / "j.pghot-journal")


def test_values_of_redis(tmp_path: Path) -> None:
    """Its pages are not in a row, and between hot ones lie what belongs to no value alone."""
    if not REDIS.exists():
        pytest.skip("no redis-server: Debian's package could not be fetched")
    script = Path(__file__).with_name("redis_program.py")
    command = (sys.executable, str(script), str(REDIS / "redis-server"), str(REDIS / "lib"))
    with Program(64, 0.25, 1, command=command) as program:
        program.goes_on(20)
        move_pages(program.pid, program.address, np.full(program.pages, 1, np.int32))
        bring(program, "Redis", tmp_path / "j.pghot-journal")


@pytest.mark.parametrize(
    "what, applied_before",
    [pytest.param("second run", False, marks=pytest.mark.two_tiers), ("third run", True)],
)
def test_a_later_run_sees_what_the_first_saw(what: str, applied_before: bool, tmp_path: Path) -> None:
    """The first is a dry run. Only the kernel's first two passes over a program let every mapping through."""
    journal = tmp_path / "before.pghot-journal"
    with running("4 KiB, runs of 16") as program:
        arguments = ["run", "--source", "faults", "-p", str(program.pid)]
        with Pghot(*arguments) as dry:
            # The last hot page need not be seen.
            dry.until(lambda: re.search(r"would promote 1[2-9]\.\d MiB", dry.said()), "most of 16 MiB")
            assert dry.finish()[0] == 130
        if applied_before:
            with Pghot(*arguments, "--apply", "--journal", str(journal)) as run:
                program.arrives(run=run)
                assert run.finish()[0] == 130
            with Pghot("undo", str(journal)) as undo:
                assert undo.finish(0)[0] == 0
        bring(program, what, tmp_path / "j.pghot-journal")


@pytest.mark.two_tiers
@pytest.mark.long
def test_a_program_that_the_kernel_has_balanced_for_long(tmp_path: Path) -> None:
    """Its threads' scan periods are long by then, and its first two passes are used up. What the kernel has moved
    meanwhile is put back, and the program stands still until pghot is at work: on a busy host that takes long, and the
    kernel would go on moving what is touched now and then."""
    BALANCING.write_text("1")
    with running("4 KiB, runs of 16", "threads=2") as program:
        program.goes_on(60)
        program.signal(signal.SIGSTOP)
        move_pages(program.pid, program.address, np.full(program.pages, 1, np.int32))
        assert (program.nodes() == 1).all()
        go_on = partial(program.signal, signal.SIGCONT)
        bring(program, "balanced for half a minute", tmp_path / "j.pghot-journal", once_at_work=go_on)


@contextmanager
def kernel_mode_2() -> Iterator[None]:
    """NUMA balancing's tiering mode promotes by itself."""
    old = {path: path.read_text() for path in (BALANCING, RATE, SCAN)}
    try:
        SCAN.write_text("200")
        BALANCING.write_text("2")
        yield
    finally:
        for path, text in old.items():
            path.write_text(text)


@pytest.mark.parametrize("what", PROGRAMS | UNDER_A_POLICY)
def test_the_kernels_own_mode_beside_them(what: str) -> None:
    """It is reported, not judged, but for its end."""
    began = time.monotonic()
    with running(what) as program, kernel_mode_2():
        until(lambda: program.set_on(0) > 0.95 or time.monotonic() - began > 120, "two minutes", every_s=0.5)
        seconds = time.monotonic() - began
        program.goes_on(6)
        where = program.on(0)
    row = {"program": what, "by": "kernel mode 2", "coverage": where.hot, "cold_share": where.cold}
    report("ordinary programs", {**row, "seconds": seconds})
