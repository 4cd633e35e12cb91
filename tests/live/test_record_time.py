"""Virtual time and rows of the recorder: string instructions, threads that wait, threads, caches, patterns."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from builders import record_programs as programs
from pghot.recorder.build import compile_plugin, find_emulator, plugin_sources
from pghot.recorder.programs import machine
from pghot.recorder.record_settings import RecordSettings
from pghot.recorder.recorder import Outcome, record
from pghot.recording.reader import Recording, open_recording
from pghot.recording.trace import SliceBatch

Build = Callable[..., str]

THIRD_AREA = programs.AREA + (1 << 34)
MIB = 1 << 20

pytestmark = programs.needs_qemu
x86_only = pytest.mark.skipif(machine() != "x86_64", reason="tells instructions of x86-64 apart")


@pytest.fixture
def built(tmp_path: Path) -> Build:
    def build(source: str, *options: str) -> str:
        program = tmp_path / "program"
        program.with_suffix(".c").write_text(source)
        command = ["cc", "-O1", "-pthread", *options, "-o", str(program), str(program.with_suffix(".c"))]
        subprocess.run(command, check=True)
        return str(program)

    return build


def record_it(command: list[str], tmp_path: Path, **settings: object) -> tuple[Outcome, Recording]:
    path = tmp_path / "it.pghot"
    outcome = record(command, path, RecordSettings(force=True, **settings))  # type: ignore[arg-type]
    return outcome, open_recording(path, verify=True)


def rows_in(recording: Recording, address: int, pages: int) -> list[SliceBatch]:
    """The rows of a range of addresses, by thread; as batches of one slice."""
    inside = np.zeros(recording.pages, np.bool_)
    for region in recording.regions:
        first = (address - region.start_address) // 4096
        begin, end = max(first, 0), min(first + pages, region.pages)
        inside[region.first_page + begin : region.first_page + max(begin, end)] = True
    found = []
    for batch in recording.batches(by_thread=True):
        kept = np.flatnonzero(inside[batch.page])
        columns = ("page", "touches", "misses", "sequential", "writes", "node", "process", "thread")
        columns = (*columns, "strided", "dependent")
        found.append(
            SliceBatch(
                batch.start_ns[:1],
                batch.instructions[:1],
                np.array([0, len(kept)]),
                misses_by_cache=batch.misses_by_cache[:, kept],
                **{name: getattr(batch, name)[kept] for name in columns},
            )
        )
    return found


def total(batches: list[SliceBatch], column: str) -> int:
    return sum(int(getattr(batch, column).sum(dtype=np.uint64)) for batch in batches)


@x86_only
def test_a_string_instruction_touches_each_line_once_and_takes_the_time_of_its_words(
    built: Build, tmp_path: Path
) -> None:
    outcome, recording = record_it([built(programs.STRINGS)], tmp_path)
    filled = rows_in(recording, programs.AREA, 16384)
    copied = rows_in(recording, programs.SECOND_AREA, 4096)
    # 64 MiB filled: 2^20 lines stored to; 16 MiB copied: 2^18 lines loaded, 2^18 stored to
    assert (total(filled, "writes"), total(filled, "touches")) == (1 << 20, (1 << 20) + (1 << 18))
    assert (total(copied, "writes"), total(copied, "touches")) == (1 << 18, 1 << 18)
    assert total(filled, "misses") == (1 << 20) + (1 << 18)
    # 80 MiB in words of 8 bytes, two a nanosecond: 5.24 ms; the program's start takes less than half of one
    assert 5_242_880 <= outcome.virtual_ns < 5_242_880 + 750_000


def test_libc_touches_what_it_fills_and_copies(built: Build, tmp_path: Path) -> None:
    outcome, recording = record_it([built(programs.LIBC_STRINGS)], tmp_path)
    lines = 2048 * 64
    for address in (programs.AREA, programs.SECOND_AREA):
        rows = rows_in(recording, address, 2048)
        # between once (string instructions) and eight times (words) for each line
        assert lines <= total(rows, "writes") <= 8 * lines + 8
        assert total(rows, "misses") >= lines
    assert outcome.status == 0
    assert outcome.virtual_ns < 3_000_000  # 16 MiB in words of 8 bytes are 1.05 ms


@x86_only
@pytest.mark.parametrize("optimised", ["-O1", "-O2"])  # -O2 enters a loop of several blocks at its last one
@pytest.mark.parametrize("how", ["pause", "yield", "no-ops", "look", "several", "jumps"])
def test_a_waiting_thread_takes_no_virtual_time(
    built: Build, tmp_path: Path, how: str, optimised: str
) -> None:
    program = built(programs.WAITING, optimised)
    alone, _ = record_it([program], tmp_path)
    outcome, recording = record_it([program, how], tmp_path)
    assert alone.waiting_share == 0
    # who yields is in the kernel most of the time, where it executes no instruction of its own
    assert outcome.waiting_share > (0 if how == "yield" else 0.1)
    assert recording.final["waiting_share"] == pytest.approx(outcome.waiting_share, abs=1e-4)
    # creating and joining a thread is little beside six million instructions of work
    assert outcome.virtual_ns == pytest.approx(alone.virtual_ns, rel=0.1)
    assert outcome.threads == 1


@x86_only
@pytest.mark.parametrize("how", ["spinlock", "adaptive", "barrier"])
def test_who_waits_for_its_turn_takes_no_virtual_time(built: Build, tmp_path: Path, how: str) -> None:
    program = built(programs.TURNS, "-fopenmp")
    alone, _ = record_it([program], tmp_path)
    outcome, _ = record_it([program, how], tmp_path)
    assert (outcome.status, alone.waiting_share) == (0, 0)
    if how == "barrier":  # with locks the other may find each turn free, on a busy machine
        assert outcome.waiting_share > 0.1
    assert outcome.virtual_ns == pytest.approx(alone.virtual_ns, rel=0.1)


@x86_only
def test_a_search_is_no_waiting(built: Build, tmp_path: Path) -> None:
    outcome, _ = record_it([built(programs.SEARCH)], tmp_path)
    assert outcome.status == 0
    assert outcome.waiting_share == 0
    assert outcome.virtual_ns > 1_000_000 * 4 / 2  # at least four instructions a node, two a nanosecond


@x86_only
def test_no_ops_that_align_a_loop_are_no_waiting(built: Build, tmp_path: Path) -> None:
    outcome, _ = record_it([built(programs.ALIGNED)], tmp_path)
    assert outcome.status == 0
    assert outcome.waiting_share == 0
    assert outcome.virtual_ns > 1_000_000 * 23 / 2  # 1 + 8 + 4 * 3 + 2 instructions a round, two a nanosecond


@x86_only
def test_a_multiplication_with_two_blas_threads_takes_the_time_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "import numpy as np; a = np.random.default_rng(1).random((256, 256)); print((a @ a).sum())"
    outcomes = []
    for threads in ("1", "2"):
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", threads)
        outcomes.append(record_it([sys.executable, "-c", script], tmp_path)[0])
    one, two = outcomes
    assert (one.status, two.status) == (0, 0)
    assert two.waiting_share > one.waiting_share
    assert two.virtual_ns == pytest.approx(one.virtual_ns, rel=0.05)


def test_each_row_names_its_thread(built: Build, tmp_path: Path) -> None:
    _, recording = record_it([built(programs.THREADS)], tmp_path, slice_ns=20_000)
    assert len(recording.info.tasks) == 6
    assert len({task.tid for task in recording.info.tasks}) == 6
    assert {task.process for task in recording.info.tasks} == {0}
    by_thread = {}
    for number in range(5):
        rows = rows_in(recording, programs.AREA + number * 101 * 4096, 101)
        threads = set(np.concatenate([batch.thread for batch in rows]).tolist())
        assert len(threads) == 1, "each part of the area belongs to one thread"
        by_thread[number] = threads.pop()
    assert len(set(by_thread.values())) == 5
    assert 0 not in by_thread.values(), "the main thread touches none of it"


def test_processes_are_told_apart(built: Build, tmp_path: Path) -> None:
    _, recording = record_it([built(programs.FORK)], tmp_path)
    assert len(recording.info.processes) == 2
    child = rows_in(recording, programs.SECOND_AREA, 53)
    assert set(np.concatenate([batch.process for batch in child]).tolist()) == {1}


def test_several_caches_are_those_of_runs_with_each_alone(built: Build, tmp_path: Path) -> None:
    program = built(programs.KNOWN)
    sizes = (256 << 10, MIB, 4 * MIB)
    _, together = record_it([program], tmp_path, cache_bytes=sizes)
    assert together.info.cache_bytes == sizes
    found = [b.misses_by_cache.sum(axis=1) for b in rows_in(together, programs.AREA, 997)]
    for at, size in enumerate(sizes):
        _, alone = record_it([program], tmp_path, cache_bytes=(size,))
        expected = total(rows_in(alone, programs.AREA, 997), "misses")
        assert sum(int(misses[at]) for misses in found) == expected
    # 23 lines of 997 pages are 1.4 MiB: the largest cache misses each once, the smallest the seventh load again too
    assert sum(misses.astype(int) for misses in found).tolist()[::2] == [24 * 997, 23 * 997]


def test_misses_are_told_by_how_they_follow_each_other(built: Build, tmp_path: Path) -> None:
    _, recording = record_it([built(programs.PATTERNS)], tmp_path, cache_bytes=(256 << 10,))
    assert recording.info.patterns == ("sequential", "strided", "dependent")
    scan = rows_in(recording, programs.AREA, 997)
    # every line of a page but its first follows its neighbour; a page's first is one line further: a stride
    assert (total(scan, "misses"), total(scan, "sequential")) == (997 * 64, 997 * 63)
    assert total(scan, "strided") >= 990
    strided = rows_in(recording, programs.SECOND_AREA, 997)
    assert total(strided, "strided") >= 0.99 * total(strided, "misses") > 21_000
    chain = rows_in(recording, THIRD_AREA, 1024)
    # 65,536 lines, once written in no order; once followed, each address from the line before. 4,096 fit the cache
    assert 2 * 65536 - 4096 <= total(chain, "misses") <= 2 * 65536
    assert 65536 - 4096 <= total(chain, "dependent") <= 65536
    assert total(chain, "strided") < 100


def test_the_grouped_accesses_are_those_that_qemu_reports(tmp_path: Path) -> None:
    """Real programs under a plugin that compares the two, block by block; and it fails when a group is wrong."""
    emulator = find_emulator()
    script = "import json, re; print(re.sub('a+', 'b', json.dumps([1.5, {'aaa': None}] * 99)))"
    for wrong in (False, True):
        sources = plugin_sources()
        if wrong:
            sources["plugin_groups.h"] = sources["plugin_groups.h"].replace(
                "rsp->offset -= 8", "rsp->offset -= 16"
            )
        compile_plugin(sources, tmp_path / "check.so", emulator.plugin_api, "-DPGHOT_CHECK")
        printed = _under_check(tmp_path, emulator.path, [sys.executable, "-c", script])
        checked, bad = (
            int(word) for word in printed.rsplit("checked ", 1)[1].replace(" blocks, ", " ").split()[:2]
        )
        assert checked > 10_000
        assert (bad > 0) == (wrong and machine() == "x86_64"), printed[-2000:]


def _under_check(tmp_path: Path, emulator: str, command: list[str]) -> str:
    (tmp_path / "clock").write_bytes(bytes(8))
    spec = f"{tmp_path}/check.so,dir={tmp_path},slice=500000,sets=256,ways=16,follow=0,wait=0"
    run = [emulator, "-cpu", "max", "-plugin", spec, *command]
    (tmp_path / "socket").unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        threading.Thread(target=_read_all, args=[listener], daemon=True).start()
        return subprocess.run(run, capture_output=True, text=True, check=True).stderr


def _read_all(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    while connection.recv(1 << 20):
        pass
