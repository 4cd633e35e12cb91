"""Journals that ask for more than there is, or say what no pghot wrote: bounded, refused before anything is done."""

from __future__ import annotations

import base64
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.live_loop import BOOT_ID, START, FakeKernel, maps_line, one_program
from builders.machine_trees import put
from pghot.cli.main import run
from pghot.errors import UsageError
from pghot.kernel import sysroot
from pghot.kernel.knob_files import NUMA_BALANCING
from pghot.kernel.process import read_stat
from pghot.live import journal_file
from pghot.live.journal_file import FORMAT, MOST_PAGES, read_journal
from pghot.live.journal_runs import LINE_PAGES, RUN, pack
from pghot.live.undo import undo
from pghot.sealed import seal

PID, PAGES = 500, 64
FIRST = START // 4096
Facts = dict[str, Any]


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """A program whose 64 pages are on node 1, and a knob that is 2."""
    kernel = one_program(tmp_path, monkeypatch, PID, PAGES)
    put(tmp_path, NUMA_BALANCING, "2")
    real = sysroot.SysRoot
    monkeypatch.setattr(sysroot, "SysRoot", lambda: real(tmp_path))
    return kernel


def journal(path: Path, *lines: Facts) -> Path:
    """One of root's, sealed, that also says a knob was 1."""
    common = {"format": FORMAT, "boot_id": BOOT_ID, "writer": [1 << 22, 1]}
    knob = {"kind": "knob", "path": NUMA_BALANCING, "old": "1", "new": "2"}
    said = [common | line for line in ({"kind": "journal"}, knob, *lines)]
    path.write_text("".join(f"{seal(line)}\n" for line in said))
    path.chmod(0o600)
    return path


def origins(kernel: FakeKernel, *runs: tuple[int, int, int], **other: Any) -> Facts:
    """A line about the program: pages from the first on, how many, and their node."""
    identity = read_stat(kernel.root, PID).identity
    return {
        "kind": "origins",
        "pid": PID,
        "start_ticks": identity.start_ticks,
        "mm": list(identity.mm),
        "name": "program",
        "runs": base64.b64encode(pack(np.array([*runs], RUN))).decode(),
    } | other


def peak_of_undo(kernel: FakeKernel, path: Path) -> tuple[int, Any]:
    """The most memory that it takes, and what it did."""
    tracemalloc.start()
    try:
        done = undo(read_journal(path), kernel.root)
        return tracemalloc.get_traced_memory()[1], done
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("lines", [1, 40])
def test_a_line_of_255_bytes_takes_no_gigabytes_and_what_is_mapped_goes_back(
    kernel: FakeKernel, tmp_path: Path, lines: int
) -> None:
    """2^30 pages each, over the whole of the addresses; 64 of them are there. All of 8 bytes would be 8 GiB a line."""
    each = [origins(kernel, (number << 30, LINE_PAGES, 0)) for number in range(lines)]
    path = journal(tmp_path / "j", *each, origins(kernel, (FIRST, PAGES, 0)))
    assert path.stat().st_size < 400 * (lines + 3)
    peak, done = peak_of_undo(kernel, path)
    assert (done.pages_back, kernel.root.read(NUMA_BALANCING)) == (PAGES, "1")
    assert done.pages_gone == lines * LINE_PAGES - (PAGES if lines > FIRST >> 30 else 0)
    assert peak < 100 << 20


def test_many_lines_about_the_same_pages_take_no_more_memory_than_one(
    kernel: FakeKernel, tmp_path: Path
) -> None:
    """5.5 MB that unpack to 4 GiB: 3,000 lines of every second page of the same 64 MiB."""
    runs = [(FIRST + 2 * number, 1, 0) for number in range(8192)]
    path = journal(tmp_path / "j", *[origins(kernel, *runs)] * 3000)
    peak, done = peak_of_undo(kernel, path)
    assert done.pages_back == PAGES // 2
    assert peak < 100 << 20


def test_a_program_that_has_ended_is_not_gone_through(kernel: FakeKernel, tmp_path: Path) -> None:
    line = origins(kernel, *((number << 34, LINE_PAGES >> 10, 0) for number in range(1000)))
    path = journal(tmp_path / "j", *[line] * 100)
    kernel.exit(PID)
    peak, done = peak_of_undo(kernel, path)
    assert done.processes_gone == [f"{PID} (program)"]
    assert peak < 20 << 20


def refused(kernel: FakeKernel, path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What `pghot undo` says; it has done nothing."""
    assert run(["undo", str(path)]) == 2
    assert kernel.root.read(NUMA_BALANCING) == "2"
    assert kernel.moves == []
    told = capsys.readouterr()
    assert told.out == ""
    return told.err


def test_more_pages_than_any_machine_has_are_refused_before_anything_is_done(
    kernel: FakeKernel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [origins(kernel, (0, LINE_PAGES, 0))] * (MOST_PAGES // LINE_PAGES + 1)
    path = journal(tmp_path / "j", origins(kernel, (FIRST, PAGES, 0)), *lines)
    assert "its lines name 1,099,511,627,840 pages; nothing was put back" in refused(kernel, path, capsys)


def test_a_line_without_an_end_is_refused_before_anything_is_done(
    kernel: FakeKernel, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_file, "MOST_LINE_BYTES", 1 << 20)
    path = journal(tmp_path / "j", origins(kernel, (FIRST, PAGES, 0)))
    with path.open("ab") as file:
        file.truncate(1 << 40)  # a hole
    assert "it has a line of 1 MiB or more; nothing was put back" in refused(kernel, path, capsys)


SURROGATE = "\ud800"


@pytest.mark.parametrize("bad", [SURROGATE, "\x00", "\x1b[2J", "x" * 100_000, "\udcff"])
@pytest.mark.parametrize("moves", [True, False])
def test_no_name_stops_an_undo_half_way(
    kernel: FakeKernel, tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: str, moves: bool
) -> None:
    kernel.fails = {} if moves else {PID: 13}
    path = journal(tmp_path / "j", origins(kernel, (FIRST, PAGES, 0), name=bad))
    assert run(["undo", str(path)]) == (0 if moves else 1)
    assert kernel.root.read(NUMA_BALANCING) == "1"
    assert set(kernel.node.values()) == {0 if moves else 1}
    assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize("json_", [True, False])
@pytest.mark.parametrize("where", ["path", "old", "new", "pid_namespace"])
def test_a_lone_surrogate_in_a_knob_is_damage_and_the_rest_is_put_back(
    kernel: FakeKernel, tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str, json_: bool
) -> None:
    knob = {"kind": "knob", "path": NUMA_BALANCING, "old": "1", "new": "2", where: SURROGATE}
    path = journal(tmp_path / "j", knob, origins(kernel, (FIRST, PAGES, 0)))
    code = 0 if where == "pid_namespace" else 1
    assert run(["undo", str(path), *(["--json"] if json_ else [])]) == code
    assert kernel.root.read(NUMA_BALANCING) == "1"
    assert set(kernel.node.values()) == {0}
    told = capsys.readouterr().out
    assert bool(code) == ("line 3 of the journal cannot be read" in " ".join(told.split()))
    if json_:
        assert json.loads(told)["pages_back"] == PAGES


@pytest.mark.parametrize(
    "wrong",
    [
        {"pid": str(PID)},
        {"pid": PID + 0.0},
        {"pid": True},
        {"pid": -PID},
        {"pid": 10**4000},
        {"start_ticks": "100"},
        {"start_ticks": -1},
        {"mm": [1, 2]},
        {"mm": [1, 2, "3"]},
        {"mm": {"1": 2, "2": 3, "3": 4}},
        {"mm": [1, 2, [3]]},
        {"runs": 5},
        {"runs": None},
        {"format": 3.0},
    ],
)
def test_what_is_no_number_of_a_program_is_damage_and_nobodys(
    kernel: FakeKernel, tmp_path: Path, wrong: Facts
) -> None:
    path = journal(tmp_path / "j", origins(kernel, (FIRST, PAGES, 0), **wrong))
    read = read_journal(path)
    assert (read.damaged, read.spaces) == ([3], []) or wrong == {"format": 3.0}


@pytest.mark.parametrize("writer", [["5", 1], [5, 1.5], [5], [5, 1, 1], [-1, 1], [True, 1], None, {"5": 1}])
def test_a_writer_that_is_none_is_refused(tmp_path: Path, writer: object) -> None:
    path = tmp_path / "j"
    path.write_text(seal({"kind": "journal", "format": FORMAT, "boot_id": "b", "writer": writer}) + "\n")
    path.chmod(0o600)
    with pytest.raises(UsageError, match="is not a journal of pghot"):
        read_journal(path)


@pytest.mark.parametrize("form", ["3", None, [3], {"3": 3}, True, "x" * 100_000])
def test_a_format_that_is_no_number_is_no_later_version(
    tmp_path: Path, form: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "j"
    path.write_text(seal({"kind": "journal", "format": form, "boot_id": "b", "writer": [5, 1]}) + "\n")
    path.chmod(0o600)
    assert run(["undo", str(path)]) in (0, 1)
    assert "use the pghot that wrote it" not in capsys.readouterr().err


# ---- what it says


def undone(path: Path, capsys: pytest.CaptureFixture[str], code: int) -> list[str]:
    assert run(["undo", str(path)]) == code
    return capsys.readouterr().out.splitlines()


def test_only_knobs_that_it_wrote_are_said_to_be_put_back(
    kernel: FakeKernel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Put back; then already so; then somebody else's; then gone."""
    path = journal(tmp_path / "j")
    assert f"knobs put back: {NUMA_BALANCING}" in undone(path, capsys, 0)
    assert "knobs put back: none" in undone(path, capsys, 0)
    put(tmp_path, NUMA_BALANCING, "0")
    said = undone(path, capsys, 1)
    assert "knobs put back: none" in said
    assert f"problem: {NUMA_BALANCING} is '0', which pghot did not write; left alone (it was '1')" in said
    kernel.root.path(NUMA_BALANCING).unlink()
    assert "knobs put back: none" in undone(path, capsys, 0)


def test_when_there_is_nothing_to_undo_it_says_why_in_a_sentence(
    kernel: FakeKernel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = "pages back: 0, were home already: 0, gone: 0"
    empty = tmp_path / "empty"
    empty.write_text(journal(tmp_path / "j").read_text().splitlines()[0] + "\n")
    empty.chmod(0o600)
    assert undone(empty, capsys, 0) == [
        "the journal names neither pages nor knobs: there is nothing to put back",
        nothing,
        "knobs put back: none",
    ]
    path = journal(tmp_path / "j", origins(kernel, (FIRST, PAGES, 0)))
    kernel.program(PID, [maps_line(START, PAGES)], start_ticks=101)
    assert undone(path, capsys, 0) == [
        nothing,
        f"nothing to do: {PID} (program) has ended or is another program now",
        f"knobs put back: {NUMA_BALANCING}",
    ]
    put(tmp_path, "proc/sys/kernel/random/boot_id", "another")
    assert undone(path, capsys, 0) == [
        "the machine was rebooted since the journal was written: nothing is left to put back",
        nothing,
        "knobs put back: none",
    ]
