"""Recording live and what-if, from the real command on; a recording stands for the kernel's sources."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from builders.record_programs import needs_qemu
from pghot.cli.main import run
from pghot.live.slices import Estimate, slice_batch
from pghot.recording.reader import open_recording
from pghot.recording.trace import MemoryTrace, Region, SliceBatch, TraceInfo
from pghot.recording.writer import write_recording
from waiting import at_each_round

PAGES = 64
CHILD = """
import ctypes, mmap, sys, time
memory = mmap.mmap(-1, 64 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory[:] = b"x" * len(memory)
print(ctypes.addressof(ctypes.c_char.from_buffer(memory)), flush=True)
sys.stdin.readline()
end = time.process_time() + 1
while time.process_time() < end:
    memory[0] = 1
print("worked", flush=True)
sys.stdin.readline()
"""


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, to the nanosecond: its only thread's time on a CPU."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def seen(start: int) -> MemoryTrace:
    """Every 10 ms page 5 twice, page 6 once; page 6 is written."""
    slices = 300
    batch = SliceBatch(
        start_ns=np.arange(slices, dtype=np.uint64) * np.uint64(10_000_000),
        instructions=np.full(slices, 1000, np.uint64),
        offsets=np.arange(slices + 1, dtype=np.int64) * 2,
        page=np.tile(np.array([5, 6], np.uint32), slices),
        touches=np.tile(np.array([2, 1], np.uint32), slices),
        misses=np.tile(np.array([2, 1], np.uint32), slices),
        sequential=np.zeros(2 * slices, np.uint32),
        writes=np.tile(np.array([0, 1], np.uint32), slices),
        node=np.zeros(2 * slices, np.int16),
    )
    region = Region(0, PAGES, 0, start, "[anon]")
    return MemoryTrace(TraceInfo("seen", "workload", slice_ns=10_000_000), PAGES, (region,), [batch])


def test_a_live_recording_has_the_shares_and_the_estimated_misses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child works for a second of CPU time while it is recorded; when it has, the recording is interrupted."""
    source, path = tmp_path / "seen.pghot", tmp_path / "live.pghot"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", CHILD], text=True, **pipes) as child:  # type: ignore[call-overload]
        assert child.stdin is not None
        assert child.stdout is not None

        def work_and_end(number: int) -> None:
            if number == 3:
                child.stdin.write("\n")
                child.stdin.flush()
            if select.select([child.stdout], [], [], 0)[0] and child.stdout.readline():
                os.kill(os.getpid(), signal.SIGINT)

        start = int(child.stdout.readline())
        write_recording(source, seen(start))
        words = ["record", "--source", "replay", "--set", f"replay.file={source}", "-p", str(child.pid)]
        words += ["--set", "replay.loop=true", "-o", str(path), "--json", "--stall-share", "50%"]
        at_each_round(monkeypatch, work_and_end)
        before_s = cpu_seconds(child.pid)
        code = run(words)
        used_s = cpu_seconds(child.pid) - before_s
        child.kill()
    assert code == 130
    facts = json.loads(capsys.readouterr().out)
    assert facts["slices"] >= 2
    recording = open_recording(path)
    assert recording.info.source == "replay"
    assert "estimated" in recording.info.notes[0]
    totals: dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}
    for batch in recording.batches():
        for page, misses, writes in zip(batch.page, batch.misses, batch.writes, strict=True):
            totals.setdefault(int(page), np.zeros(2, np.int64))
            totals[int(page)] += (misses, writes)
    assert len(totals) == 2
    cold, hot = sorted(totals)[1], sorted(totals)[0]
    assert totals[hot][0] == pytest.approx(2 * totals[cold][0], rel=0.02)
    assert totals[hot][1] == 0
    assert totals[cold][1] == totals[cold][0]
    region = next(
        region for region in recording.regions if region.first_page <= hot < region.first_page + region.pages
    )
    assert region.start_address + (hot - region.first_page) * 4096 == start + 5 * 4096
    # Half of what the child used meanwhile waits, 4 misses in 100 ns.
    whole = used_s * 0.5 * 4 / 100e-9
    assert totals[hot][0] + totals[cold][0] == pytest.approx(whole, rel=0.05)


def test_the_estimate_adds_up() -> None:
    page = [np.array([7, 3, 7], np.uint32), np.array([3], np.uint32)]
    count = [np.array([1, 2, 3], np.uint32), np.array([2], np.uint32)]
    write = [np.array([True, False, True]), np.array([False])]
    batch = slice_batch(page, count, write, Estimate(1.0, 100.0, 1.0), cpu_ns=80_000, start_ns=5)
    assert batch.page.tolist() == [3, 7]
    assert batch.misses.tolist() == [400, 400]
    assert batch.writes.tolist() == [0, 400]
    assert batch.instructions.tolist() == [0]


def test_an_idle_slice_is_empty() -> None:
    batch = slice_batch([], [], [], Estimate(), cpu_ns=0, start_ns=0)
    assert batch.rows == 0
    assert batch.slices == 1


@needs_qemu
def test_what_if_replays_on_simulated_tiers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The caches, policies, sources and outputs are those that were asked for."""
    page = tmp_path / "seen.html"
    how = "--source qemu --llc 256KiB,2MiB --policies numab2,pghot-default --sources abit"
    program = [sys.executable, "-c", "x = bytearray(1 << 24)"]
    words = ["run", "--what-if", "dram-cxl", *how.split(), "-o", str(page), "--json", "--", *program]
    code = run(words)
    out, err = capsys.readouterr()
    assert code == 0, err
    facts = json.loads(out)
    assert facts["schema"] == "pghot.compare/1"
    assert facts["simulated"] is True
    assert facts["setup"]["llc_bytes"] == 256 << 10, "of two the one that stands for that of the tiers"
    assert {row["label"] for row in facts["summary"]} == {
        "none",
        "all-fast",
        "numab2/hintfaults",
        "pghot-default/abit",
    }
    assert "nothing was moved" in err
    assert "pghot-default/abit" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--what-if", "dram-cx", "--", "true"], "did you mean 'dram-cxl'"),
        (["run", "--what-if", "dram-cxl", "--apply", "--", "true"], "--apply goes with a run on the tiers"),
        (["run", "--what-if", "dram-cxl", "--fast-share", "x", "--", "true"], "not a share"),
        (["record", "--source", "replay", "-p", "1"], "no recording named"),
        (["record", "--source", "qemu", "-p", "1", "-o", "x.pghot"], "--pid goes with a live source"),
        (["record"], "no command to record"),
    ],
)
def test_mistakes(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert message in capsys.readouterr().err


def test_what_a_command_prints_does_not_mix_with_json(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_recording(tmp_path / "seen.pghot", seen(0))
    tracked = tmp_path / "tracked"
    at_each_round(monkeypatch, lambda _: tracked.touch())
    chosen = ["--source", "replay", "--set", f"replay.file={tmp_path / 'seen.pghot'}"]
    code = f"import os, time\nprint('talk', flush=True)\nwhile not os.path.exists({str(tracked)!r}): time.sleep(0.01)"
    talker = [sys.executable, "-c", code]
    journal = ["--journal", str(tmp_path / "j.pghot-journal")]
    assert run(["run", *chosen, *journal, "--json", "--", *talker]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["schema"] == "pghot.run/1"
    assert "talk" in err


@needs_qemu
@pytest.mark.parametrize("verb", ["record", "run"])
def test_what_an_emulated_command_prints_does_not_mix_with_json(
    verb: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    how = (
        ["-o", str(tmp_path / "x.pghot")]
        if verb == "record"
        else ["--what-if", "dram-cxl", "--source", "qemu", "--policies", "numab2"]
    )
    talker = [sys.executable, "-c", "print('talk', flush=True); x = bytearray(1 << 24)"]
    assert run([verb, *how, "--json", "--", *talker]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["schema"] == {"record": "pghot.record/1", "run": "pghot.compare/1"}[verb]
    assert "talk" in err
