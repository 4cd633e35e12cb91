"""The scanning sources on a real kernel, one by one: what they see of a program whose hot pages are known."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from helpers import Daemon, Pghot, Program, huge_mib, knobs, pghot, report

from pghot.kernel import pagemap
from pghot.kernel.damon_sysfs import NUMBER, STATE
from pghot.kernel.knob_files import DEMOTION_ENABLED
from pghot.kernel.lru_gen import Generation, age, demote_oldest, read_lru_gen
from pghot.kernel.maps_text import read_maps
from pghot.kernel.process import read_stat
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import Space, Watched
from pghot.live.knobs import Knobs
from pghot.live.sources.access_source import AccessSource
from pghot.live.sources.damon import Damon
from pghot.live.sources.softdirty import SoftDirty
from waiting import until

pytestmark = pytest.mark.two_tiers
ROOT = SysRoot()


def watch(*pids: int) -> Watched:
    spaces = []
    for number, pid in enumerate(pids, 1):
        stat = read_stat(ROOT, pid)
        spaces.append(Space(number, stat.identity, stat.comm, *read_maps(ROOT, pid).movable()))
    return Watched(tuple(spaces))


@contextmanager
def started(source: AccessSource, *pids: int) -> Iterator[AccessSource]:
    """The source at work; afterwards its knobs are back."""
    before, knobs_set = knobs(), Knobs(ROOT, None)
    try:
        source.start(watch(*pids), knobs_set.set)
        yield source
    finally:
        source.stop()
        assert knobs_set.restore() == []
    assert knobs() == before


class Counts:
    """The newest count of each page of programs that a source reports."""

    def __init__(self, source: AccessSource, *programs: Program) -> None:
        self.source, self.programs = source, programs
        self.count = {program.pid: np.zeros(program.pages, np.uint32) for program in programs}
        self.cpu_s, self.polls = 0.0, 0

    def poll(self) -> None:
        began = time.process_time()
        found = self.source.poll(time.monotonic_ns() // 1_000_000)
        self.cpu_s += time.process_time() - began
        self.polls += 1
        for sightings in found:
            program = next(each for each in self.programs if each.pid == sightings.pid[0])
            page = (sightings.address.astype(np.int64) - int(program.address[0])) // 4096
            inside = (page >= 0) & (page < program.pages)
            self.count[program.pid][page[inside]] = sightings.count[inside]

    def polled(self, program: Program, least: int) -> tuple[float, float]:
        """What `shares` says after a poll."""
        self.poll()
        return self.shares(program, least)

    def shares(self, program: Program, least: int) -> tuple[float, float]:
        """Shares of the hot and of the cold pages with at least so many accesses."""
        enough, hot = self.count[program.pid] >= least, program.hot()
        return float(enough[hot].mean()), float(enough[~hot].mean())


# ---- soft-dirty


def test_soft_dirty_sees_each_written_page_and_no_other() -> None:
    with (
        Program(256, 0.25, 1, "write", "calm") as program,
        started(SoftDirty(ROOT, 500), program.pid) as source,
    ):
        counts = Counts(source, program)
        seen = lambda: counts.polled(program, 1)  # noqa: E731
        until(lambda: seen()[0] == 1.0, "all hot pages written", seen)
        assert counts.shares(program, 1) == (1.0, 0.0)
        looks = source.counters()["softdirty_scans"]
    report("scans", {"source": "softdirty", "mib": 256, "cpu_ms_a_look": 1000 * counts.cpu_s / looks})


def test_soft_dirty_sees_no_reads() -> None:
    with Program(64, 0.25, 1) as program, started(SoftDirty(ROOT, 200), program.pid) as source:
        counts = Counts(source, program)
        until(lambda: counts.poll() or source.counters()["softdirty_scans"] >= 5, "five scans")
        assert counts.shares(program, 1) == (0.0, 0.0)


def test_a_mapping_that_grows_is_not_taken_for_written() -> None:
    """The kernel marks all pages of a mapping that grew (VM_SOFTDIRTY): seen here, and left out by the source."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, (
        [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    )  # fmt: skip
    private, fixed = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 0x10
    reserved = libc.mmap(None, 1 << 24, 0, private, -1, 0)
    # Not at its edge: what the kernel places below the reservation later would merge with it, and make it grow.
    start = libc.mmap(reserved + 64 * 4096, 64 * 4096, 3, private | fixed, -1, 0)
    ctypes.memset(start, 1, 64 * 4096)
    with started(SoftDirty(ROOT, 1), os.getpid()) as source:

        def written() -> list[int]:
            time.sleep(0.01)
            found = source.poll(time.monotonic_ns() // 1_000_000)
            pages = [(int(at) - start) // 4096 for each in found for at in each.address]
            return [page for page in pages if 0 <= page < 64]

        written()
        ctypes.memset(start + 3 * 4096, 2, 1)
        assert written() == [3]
        assert libc.mmap(start + 64 * 4096, 4096, 3, private | fixed, -1, 0) == start + 64 * 4096
        marked = pagemap.flagged(ROOT, os.getpid(), start, start + 64 * 4096, pagemap.SOFT_DIRTY)
        assert len(marked) == 64, "what the kernel says"
        assert written() == []
        ctypes.memset(start + 5 * 4096, 3, 1)
        assert written() == [5]


# ---- DAMON


def damon_sees(operations: str, *words: str) -> None:
    """A program with 64 MiB of which a quarter is hot, in runs of 4 MiB: DAMON must tell the two apart page by page.

    The hot pages found in more of the samples than the cold ones: 0 accesses everywhere, high counts everywhere and
    addresses that are a run off all fail. In how many is the host's doing: while it runs others the program touches
    nothing. Samples of 50 ms, because a pass of the program may take longer than the usual 5 under emulation; regions
    of a hundredth from the start, because how soon 10 become enough is luck.
    """
    began, samples = time.monotonic(), 20
    source = Damon(ROOT, operations, sample_us=50_000, aggregate_us=1_000_000, min_regions=100)
    with Program(64, 0.25, 1, "flush", "run=1024", *words) as program, started(source, program.pid):
        assert huge_mib(program.pid) == (64 if "huge" in words else 0)
        counts = Counts(source, program)

        def told_apart() -> bool:
            counts.poll()
            return any(hot >= 0.8 and cold <= 0.1 for hot, cold in found())

        found = lambda: [counts.shares(program, least) for least in range(1, samples + 1)]  # noqa: E731
        until(told_apart, "hot and cold told apart", found)
        seconds = time.monotonic() - began
        hot, cold = counts.shares(program, samples // 2)
        read = source.counters()
    report(
        "scans",
        {"source": f"damon {operations}", "mib": 64, "seconds": seconds, "hot_in_half_the_samples": hot,
         "cold": cold, "cpu_ms_a_poll": 1000 * counts.cpu_s / counts.polls, "lost": read["damon_lost_regions"]},
    )  # fmt: skip


def test_damon_sees_the_hot_pages_of_an_address_space() -> None:
    damon_sees("vaddr")


@pytest.mark.long
def test_damon_sees_the_hot_pages_in_physical_memory() -> None:
    """In huge pages: single ones lie where the tests before have left some, and DAMON has not a region for each."""
    Path("/proc/sys/vm/compact_memory").write_text("1")
    damon_sees("paddr", "huge")


def test_damon_follows_programs_that_come_and_go() -> None:
    with Program(16, 0.25, 1) as one, started(Damon(ROOT), one.pid) as source:
        with Program(16, 0.25, 1) as two:
            source.watch(watch(one.pid, two.pid))
            counts = Counts(source, one, two)

            def both_seen() -> bool:
                counts.poll()
                return all(count.any() for count in counts.count.values())

            until(both_seen, "accesses of both programs")
            one.end()
            source.watch(watch(two.pid))
        # Its last program ended, and the kdamond with it.
        until(lambda: ROOT.read(STATE) == "off", "the end of the kdamond")
        source.watch(Watched(()))
        with Program(16, 0.25, 1) as three:
            source.watch(watch(three.pid))
            counts = Counts(source, three)
            until(lambda: counts.poll() or counts.count[three.pid].any(), "accesses of the third program")
        assert source.counters()["damon_refused_targets"] == 0


def test_a_kdamond_of_somebody_else_stays_as_it_is() -> None:
    with Program(16, 0.25, 1) as program:
        Path(NUMBER).write_text("1")
        try:
            code, _, err = pghot("run", "--source", "damon", "-p", str(program.pid), "--duration", "1s")
            assert code == 3
            assert "somebody else" in err
            assert Path(NUMBER).read_text().strip() == "1"
        finally:
            Path(NUMBER).write_text("0")


def test_undo_ends_the_kdamond_of_a_killed_pghot(tmp_path: Path) -> None:
    journal = tmp_path / "j.pghot-journal"
    before = knobs()
    with Program(16, 0.25, 1) as program:
        with Pghot(
            "run", "--apply", "--source", "damon", "-p", str(program.pid), "--journal", str(journal)
        ) as run:
            run.until(lambda: Path(STATE).exists() and ROOT.read(STATE) == "on", "a kdamond")
            run.finish(signal.SIGKILL)
        assert ROOT.read(STATE) == "on", "nobody ended it"
        code, _, err = pghot("undo", str(journal))
        assert code == 0, err
    assert knobs() == before


# ---- the multi-gen LRU


@pytest.fixture
def group() -> Iterator[Path]:
    """A cgroup with a memcg of its own."""
    Path("/sys/fs/cgroup/cgroup.subtree_control").write_text("+memory")
    path = Path(f"/sys/fs/cgroup/scans {time.monotonic_ns()}")
    path.mkdir()
    yield path
    for pid in (path / "cgroup.procs").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    until(lambda: not (path / "cgroup.procs").read_text(), "an empty cgroup")
    path.rmdir()


@contextmanager
def program_in(group: Path, node: int) -> Iterator[Program]:
    """A program whose memory is charged to the cgroup: it enters before the program starts.

    With an emulated TLB that is never full a walk finds a page in use only when something else empties it: `flush`.
    """
    home = Path("/sys/fs/cgroup/cgroup.procs")
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        program = Program(64, 0.25, node, "flush")
    finally:
        home.write_text(str(os.getpid()))
    with program:
        yield program


def generations(group: Path, node: int) -> list[Generation]:
    return [each for each in read_lru_gen(ROOT) if each.path == f"/{group.name}" and each.node == node]


def aged(group: Path, node: int, program: Program) -> npt.NDArray[np.int64]:
    """Anonymous pages (inactive, active) after enough walks that only what is in use is young.

    A walk passes over a program whose mmap lock is taken (walk_mm, mm/vmscan.c), as this one's is while it flushes.
    """
    hot = int(program.hot().sum())
    for walks in range(1, 30):
        age(ROOT, generations(group, node)[-1])
        program.goes_on()
        now = generations(group, node)
        inactive, active = (
            sum(each.anon_pages for each in now if each.active is active) for active in (False, True)
        )
        if walks >= 4 and abs(active - hot) <= hot // 20:
            break
    return np.array([inactive, active])


def anon_pages(group: Path, node: int) -> int:
    """Of the cgroup on a node, as the kernel charges them: the program's own, and what this process took in it."""
    words = next(
        line for line in (group / "memory.numa_stat").read_text().splitlines() if line.startswith("anon ")
    )
    return int(dict(word.split("=") for word in words.split()[1:])[f"N{node}"]) // mmap.PAGESIZE


def pages_demoted() -> int:
    """Linux 6.12 counts these in pgdemote_direct, 7.3 in pgdemote_proactive."""
    lines = Path("/proc/vmstat").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("pgdemote_"))


def test_ageing_tells_the_pages_in_use(group: Path) -> None:
    with program_in(group, 1) as program:
        hot = int(program.hot().sum())
        before = generations(group, 1)
        inactive, active = aged(group, 1, program)
        assert len(before) >= 2
    assert abs(active - hot) <= hot // 20
    assert abs(inactive - (program.pages - hot)) <= hot // 20


def test_the_lrugen_source_through_pghot(group: Path, tmp_path: Path) -> None:
    """As `aged`, after some of its walks: one passes over a program whose mmap lock is taken."""
    period = "[options.lrugen]\nperiod_ms = 1000"
    with (
        program_in(group, 1) as program,
        Daemon(tmp_path, f'cgroups = ["{group.name}"]', ["lrugen"], period) as daemon,
    ):
        hot, on_top = int(program.hot().sum()), anon_pages(group, 0)

        def counters() -> dict[str, int]:
            found: dict[str, int] = daemon.status()["sources"][0]["counters"]
            return found

        def told() -> bool:
            found = counters()
            lower = found["lru_gen_active_lower"]
            top = found["lru_gen_active_top"] + found["lru_gen_inactive_top"]
            return (
                found["lru_gen_walks"] >= 4
                and abs(lower - hot) <= hot // 20
                and abs(top - on_top) <= hot // 20
            )

        until(told, f"{hot} active pages below the top and {on_top} pages on it", counters, 0.5)
        code, _, err = daemon.finish(signal.SIGTERM)
    assert code == 0, err


def test_the_oldest_are_demoted_and_the_hot_stay(group: Path) -> None:
    with program_in(group, 0) as program:
        aged(group, 0, program)
        Path(DEMOTION_ENABLED).write_text("1")
        try:
            before = pages_demoted()
            demote_oldest(ROOT, [f"/{group.name}"], 0, 2000)
            demoted = pages_demoted() - before
        finally:
            Path(DEMOTION_ENABLED).write_text("0")
        where = program.on(1)
    report(
        "scans", {"source": "lru_gen demotion", "asked": 2000, "demoted": demoted, "hot_demoted": where.hot}
    )
    assert abs(demoted - 2000) <= 128
    assert where.hot <= 0.01
    assert where.cold * (program.pages * 3 // 4) == pytest.approx(demoted, abs=64)
