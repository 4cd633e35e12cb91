"""When the balancing mode is needed: until all threads that run keep to the knobs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from builders.machine_trees import put
from pghot.kernel.sysroot import SysRoot
from pghot.live.sources import scan_periods
from pghot.live.sources.scan_periods import FIRST_PAUSE_MS, ROUND_MS, UNSHOWN_MS, ScanPeriods


class Threads:
    """/proc/PID/task of one program, 7."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._clocks: dict[int, list[int]] = {}
        self.passes = 4

    def run(self, *threads: int, faults: int = 0) -> None:
        """These threads ran, and took so many faults on the top tier."""
        for thread in threads:
            clock = self._clocks.setdefault(thread, [0, 0])
            clock[0] += 1
            clock[1] += faults
            text = f"se.sum_exec_runtime  :  {clock[0]}.250000\nmm->numa_scan_seq  :  {self.passes}\n"
            put(self._root, f"proc/7/task/{thread}/sched", f"{text}total_numa_faults   :   {clock[1]}\n")


@pytest.fixture
def threads(tmp_path: Path) -> Threads:
    return Threads(tmp_path)


@pytest.fixture
def periods(tmp_path: Path) -> ScanPeriods:
    return ScanPeriods(SysRoot(tmp_path))


def begin(threads: Threads, periods: ScanPeriods) -> None:
    """One thread is found at 0 ms; it ran, and a round begins at 1000 ms."""
    threads.run(7)
    periods.tick((7,), 0)
    threads.run(7)
    periods.tick((7,), 1000)


def test_a_round_lasts_until_every_thread_that_runs_took_a_fault(
    threads: Threads, periods: ScanPeriods
) -> None:
    threads.run(7, 8, 9)
    periods.tick((7,), 0)
    assert not periods.wanted, "whether they run is not known yet"
    threads.run(7, 8)
    periods.tick((7,), 1000)
    assert periods.wanted
    threads.run(7, faults=3)
    threads.run(8)
    periods.tick((7,), 2000)
    assert periods.wanted, "8 runs and took none"
    threads.run(8, faults=1)
    periods.tick((7,), 3000)
    assert not periods.wanted, "9 sleeps"
    assert periods.waiting == 1


def test_it_looks_once_a_second(threads: Threads, periods: ScanPeriods) -> None:
    threads.run(7)
    periods.tick((7,), 0)
    threads.run(7)
    periods.tick((7,), 999)
    assert not periods.wanted
    periods.tick((7,), 1000)
    assert periods.wanted


@pytest.mark.parametrize(("effort", "every_ms"), [(1.0, 1000), (0.5, 2000), (1 / 64, 64_000)])
def test_it_looks_less_often_when_pghot_uses_more_than_it_may(
    threads: Threads, periods: ScanPeriods, effort: float, every_ms: int
) -> None:
    threads.run(7)
    periods.tick((7,), every_ms, effort)
    threads.run(7)
    periods.tick((7,), 2 * every_ms - 1, effort)
    assert not periods.wanted
    periods.tick((7,), 2 * every_ms, effort)
    assert periods.wanted


def test_a_thread_that_wakes_up_or_is_born_later_gets_a_round_of_its_own(
    threads: Threads, periods: ScanPeriods
) -> None:
    begin(threads, periods)
    threads.run(7, faults=1)
    periods.tick((7,), 2000)
    assert not periods.wanted
    threads.run(8)
    periods.tick((7,), 3000)
    threads.run(8)
    periods.tick((7,), 4000)
    assert periods.wanted


def test_memory_without_faults_on_the_top_tier_is_given_up_for_longer_and_longer(
    threads: Threads, periods: ScanPeriods
) -> None:
    """A pass takes 2 s here, so three take 6."""
    rounds, now_ms = [], 0
    while len(rounds) < 3:
        threads.passes = 4 + now_ms // 2000
        threads.run(7)
        before = periods.wanted
        periods.tick((7,), now_ms)
        if periods.wanted and not before:
            rounds.append(now_ms)
        assert periods.unreached == (0 if now_ms < 6000 else 1)
        now_ms += 1000
    assert rounds[0] == 1000
    assert rounds[1] - rounds[0] in (6000 + FIRST_PAUSE_MS, 5000 + FIRST_PAUSE_MS)
    assert rounds[2] - rounds[1] in (6000 + 2 * FIRST_PAUSE_MS, 5000 + 2 * FIRST_PAUSE_MS)


def test_a_kernel_that_is_slow_gets_its_time(threads: Threads, periods: ScanPeriods) -> None:
    """It has not passed over the program often enough for the thread to have taken a fault."""
    for now_ms in range(0, 1000 + ROUND_MS, 1000):
        threads.run(7)
        periods.tick((7,), now_ms)
        assert periods.wanted == (now_ms >= 1000)
    threads.run(7)
    periods.tick((7,), 1000 + ROUND_MS)
    assert not periods.wanted


def test_other_knobs_are_new_to_every_thread(threads: Threads, periods: ScanPeriods) -> None:
    begin(threads, periods)
    threads.run(7, faults=1)
    periods.tick((7,), 2000)
    assert (periods.wanted, periods.waiting) == (False, 0)
    periods.begin()
    periods.tick((7,), 3000)
    threads.run(7)
    periods.tick((7,), 4000)
    assert periods.wanted


def test_a_kernel_that_shows_nothing_gets_the_whole_round(periods: ScanPeriods, tmp_path: Path) -> None:
    put(tmp_path, "proc/7/task/7/comm", "old")
    periods.tick((7,), 0)
    for now_ms in range(1000, UNSHOWN_MS, 1000):
        periods.tick((7,), now_ms)
        assert periods.wanted
    periods.tick((7,), UNSHOWN_MS)
    assert not periods.wanted


def test_programs_that_end_are_not_waited_for(threads: Threads, periods: ScanPeriods) -> None:
    begin(threads, periods)
    periods.tick((), 2000)
    assert (periods.wanted, periods.waiting) == (False, 0)


def test_of_a_program_with_many_threads_some_are_looked_at(
    threads: Threads, periods: ScanPeriods, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_periods, "MOST_THREADS", 2)
    threads.run(7, 8, 9)
    periods.tick((7,), 0)
    assert periods.waiting == 2


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The programs whose memory is held now."""
    pids: list[int] = []

    @contextmanager
    def hold(root: SysRoot, pid: int) -> Iterator[None]:
        pids.append(pid)
        yield
        pids.remove(pid)

    monkeypatch.setattr(scan_periods, "held_mm", hold)
    return pids


def test_the_memory_of_a_program_with_one_thread_is_held_while_its_round_lasts(
    threads: Threads, periods: ScanPeriods, held: list[int]
) -> None:
    begin(threads, periods)
    assert held == [7]
    threads.run(7)
    periods.tick((7,), 2000)
    assert held == [7], "once"
    threads.run(7, faults=1)
    periods.tick((7,), 3000)
    assert held == []


def test_it_is_let_go_when_the_program_ends_gets_a_second_thread_or_the_source_stops(
    threads: Threads, periods: ScanPeriods, held: list[int], tmp_path: Path
) -> None:
    begin(threads, periods)
    threads.run(7, 8)
    periods.tick((7,), 2000)
    assert held == [], "two threads are two users"
    shutil.rmtree(tmp_path / "proc/7/task/8")
    threads.run(7)
    periods.tick((7,), 3000)
    assert held == [7]
    periods.tick((), 4000)
    assert held == [], "it ended"
    for now_ms in (25000, 26000):
        threads.run(7)
        periods.tick((7,), now_ms)
    assert held == [7]
    periods.stop()
    assert held == []


def test_without_the_right_to_hold_a_round_goes_on(
    threads: Threads, periods: ScanPeriods, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(root: SysRoot, pid: int) -> AbstractContextManager[None]:
        raise PermissionError

    monkeypatch.setattr(scan_periods, "held_mm", refuse)
    begin(threads, periods)
    assert periods.wanted
    threads.run(7, faults=1)
    periods.tick((7,), 2000)
    assert not periods.wanted
