"""A program that runs and is not scanned is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.machine_trees import put
from pghot.kernel.sysroot import SysRoot
from pghot.live.sources import scan_progress
from pghot.live.sources.scan_progress import LOOK_MS, STALLED_MS, ScanProgress

MIB = 1 << 20


def shows(root: Path, pid: int, seq: int, cpu_ticks: int, resident_mib: int = 64) -> None:
    fields = ["S", *["0"] * 10, str(cpu_ticks), *["0"] * 40]
    put(root, f"proc/{pid}/stat", f"{pid} (busy) {' '.join(fields)}")
    told = f"se.sum_exec_runtime : 1.5\nmm->numa_scan_seq   :   {seq}\ntotal_numa_faults : 0\n"
    put(root, f"proc/{pid}/task/{pid}/sched", told)
    put(root, f"proc/{pid}/statm", f"999999 {resident_mib * MIB // 4096} 0 0 0 0 0")


def after(progress: ScanProgress, now_ms: int, *pids: int) -> list[int]:
    progress.tick(pids, now_ms, 64 * MIB, 25.0)
    return sorted(progress.stalled())


def test_a_program_that_runs_without_a_pass_is_stalled_until_the_next_pass(tmp_path: Path) -> None:
    """One pass over 64 MiB takes 25 ms, so the limit is 30 s and 75 ms: at 35 s, as it looks every 5 s."""
    progress = ScanProgress(SysRoot(tmp_path))
    for now_ms in range(0, STALLED_MS + LOOK_MS, LOOK_MS):
        shows(tmp_path, 7, 3, now_ms // 10)
        assert after(progress, now_ms, 7) == []
    shows(tmp_path, 7, 3, 3500)
    assert after(progress, 35_000, 7) == [7]
    assert progress.stalled() == {7: 0}
    shows(tmp_path, 7, 4, 4000)
    assert after(progress, 40_000, 7) == []


def test_a_program_that_sleeps_is_not_stalled(tmp_path: Path) -> None:
    progress = ScanProgress(SysRoot(tmp_path))
    for now_ms in range(0, 100_000, LOOK_MS):
        shows(tmp_path, 7, 3, 50)
        assert after(progress, now_ms, 7) == []


def test_a_pass_over_much_memory_may_take_long(tmp_path: Path) -> None:
    """100 GiB are 1600 steps of 25 ms: three passes take 120 s, and the limit is 150 s."""
    progress = ScanProgress(SysRoot(tmp_path))
    found = {}
    for now_ms in range(0, 160_000, LOOK_MS):
        shows(tmp_path, 7, 3, now_ms, resident_mib=100 << 10)
        found[now_ms] = after(progress, now_ms, 7)
    assert found[145_000] == []
    assert found[150_000] == [7]


def test_what_ends_or_is_not_shown_is_no_stall(tmp_path: Path) -> None:
    progress = ScanProgress(SysRoot(tmp_path))
    shows(tmp_path, 7, 3, 0)
    after(progress, 0, 7, 8)
    shows(tmp_path, 7, 3, 9000)
    put(tmp_path, "proc/7/task/7/sched", "nothing of it")
    assert after(progress, 90_000, 7, 8) == []
    shows(tmp_path, 7, 3, 9000)
    assert after(progress, 100_000, 7) == [7]
    assert after(progress, 110_000) == []


def test_of_many_programs_all_have_their_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_progress, "MOST_LOOKS", 2)
    progress = ScanProgress(SysRoot(tmp_path))
    pids = (7, 8, 9, 10, 11)
    for now_ms in range(0, 60_000, LOOK_MS):
        for pid in pids:
            shows(tmp_path, pid, 3, now_ms)
        after(progress, now_ms, *pids)
    assert sorted(progress.stalled()) == list(pids)
