"""Work dealt over processes: results in order, errors as they are, nothing left running."""

from __future__ import annotations

import json
import multiprocessing
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pghot
from builders.accesses import trace_from_accesses
from pghot.errors import PghotError, UsageError
from pghot.lab import bench
from pghot.lab import dealt as lab_dealt
from pghot.lab.dealt import Progress, dealt
from pghot.lab.outcomes import RunOutcome
from pghot.lab.run_spec import RunSpec
from pghot.recording import bundled
from pghot.recording.trace import MemoryTrace
from waiting import GUARD_S

HERE = os.getpid()
Work = Callable[[Sequence[RunSpec], Progress], list[RunOutcome]]


def squares(items: Sequence[int], progress: Progress) -> list[tuple[int, int]]:
    """Each square, and the process that computed it."""
    progress(1.0)
    return [(item * item, os.getpid()) for item in items]


def ignore(_: float) -> None:
    pass


@settings(max_examples=20)
@given(st.lists(st.integers(-9, 9), max_size=9), st.integers(1, 4))
def test_results_come_in_the_order_of_the_items(items: list[int], workers: int) -> None:
    results = dealt(items, workers, squares, ignore)
    assert [square for square, _ in results] == [item * item for item in items]
    processes = {pid for _, pid in results}
    alone = workers == 1 or len(items) == 1
    assert processes == {HERE} if alone and items else HERE not in processes
    assert len(processes) == min(workers, len(items))
    assert multiprocessing.active_children() == []


def test_neighbours_go_to_different_processes() -> None:
    first, second, third, fourth = (pid for _, pid in dealt([1, 2, 3, 4], 2, squares, ignore))
    assert first == third != second == fourth


def test_the_progress_is_that_of_the_slowest() -> None:
    """The first has done a half when the second, which waits for it, begins: nothing is done until both say so."""
    told, go = multiprocessing.Pipe(duplex=False)

    def work(items: Sequence[str], progress: Progress) -> list[str]:
        if items[0] == "first":
            progress(0.5)
            go.send("")
            progress(1.0)
        else:
            told.recv()
            progress(0.25)
            progress(1.0)
        return list(items)

    said: list[float] = []
    assert dealt(["first", "second"], 2, work, said.append) == ["first", "second"]
    assert said[0] == 0.0
    assert said[-1] == 1.0
    assert said == sorted(said)
    assert set(said) <= {0.0, 0.25, 1.0}, "the half of the first was told as all that is done"


def test_an_error_of_one_is_the_error_of_all() -> None:
    def work(items: Sequence[int], progress: Progress) -> list[int]:
        if 3 in items:
            raise UsageError("three is too many", "take two")
        signal.pause()  # the other never ends by itself
        return []

    with pytest.raises(UsageError, match="three is too many") as caught:
        dealt([2, 3], 2, work, ignore)
    assert caught.value.hint == "take two"
    assert multiprocessing.active_children() == []


def test_a_process_that_is_killed_is_told_with_a_remedy() -> None:
    def work(items: Sequence[int], progress: Progress) -> list[int]:
        if items[0] == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return list(items)

    with pytest.raises(PghotError, match="was killed") as caught:
        dealt([0, 1], 2, work, ignore)
    assert "--workers 1" in str(caught.value.hint)
    assert multiprocessing.active_children() == []


KILLED = """
import os, signal
from pghot.lab.dealt import dealt

def work(items, progress):
    os.write(1, b"%d\\n" % os.getpid())  # at once: both write
    signal.pause()

dealt([1, 2], 2, work, print)
"""


def test_nobody_goes_on_for_one_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        try:
            workers = [os.pidfd_open(int(parent.stdout.readline())) for _ in range(2)]
        finally:
            parent.kill()
    for worker in workers:
        assert select.select([worker], [], [], GUARD_S)[0], "it goes on"
        os.close(worker)


def trace() -> MemoryTrace:
    page = np.random.default_rng(1).zipf(1.3, 60_000) % 2_000
    return trace_from_accesses(page.astype(np.uint32), accesses_per_slice=1_000)


def compared(workers: int, *more: str) -> str:
    result = pghot.compare(
        trace(), "dram-cxl", ["pghot-default", "hemem", "oracle-epoch", *more], ["hintfaults", "pebs"],
        seeds=2, duration_s=20, workers=workers,
    )  # fmt: skip
    return json.dumps(result.to_dict(), sort_keys=True)


def test_a_comparison_is_the_same_by_any_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    processes: list[int] = []

    def counted(items: Sequence[RunSpec], workers: int, work: Work, progress: Progress) -> list[RunOutcome]:
        processes.append(workers)
        return dealt(items, workers, work, progress)

    monkeypatch.setattr(bench, "dealt", counted)
    monkeypatch.setattr(lab_dealt, "WORTH_A_PROCESS_S", 1e-3)
    assert compared(3) == compared(1)
    assert processes == [3, 3, 1, 1]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """How many runs each play had, and how many processes were asked for; one does the work."""
    counts: list[tuple[int, int]] = []

    def alone(items: Sequence[RunSpec], workers: int, work: Work, progress: Progress) -> list[RunOutcome]:
        counts.append((len(items), workers))
        return work(items, progress)

    monkeypatch.setattr(bench, "dealt", alone)
    return counts


def test_what_is_soon_done_is_not_dealt(asked: list[tuple[int, int]]) -> None:
    """A slice for each of 1,000 passes, of 0.3 ms of work: 6 runs are 1.8 s, worth one process; 12 are 3.6 s."""
    compared(8)
    assert asked == [(6, 1), (6, 1)]
    asked.clear()
    compared(8, "tpp", "numab2", "chrono", "multi-clock", "lru-bw", "damos")
    assert asked == [(12, 3), (12, 3)]


def test_a_remote_recording_is_replayed_by_one_process(
    asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow's clients of object stores do not live on in a forked process."""
    monkeypatch.setattr(lab_dealt, "WORTH_A_PROCESS_S", 1e-3)
    path = bundled.path("xz-decompress")
    for name, expected in ((str(path), 2), (path.as_uri(), 1)):
        asked.clear()
        pghot.compare(name, "dram-cxl", ["none"], duration_s=1, seeds=1, workers=2)
        assert [workers for _, workers in asked] == [expected]
