"""In which order things are put back, and the counts: pages for slower nodes first, knobs last to first."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from builders.live_loop import BOOT_ID, PAGE, START, FakeKernel, addresses, install, maps_line, space_of
from builders.machine_trees import put
from pghot.kernel.knob_files import DEMOTION_ENABLED, NUMA_BALANCING, PROMOTE_RATE_LIMIT
from pghot.kernel.sysroot import SysRoot
from pghot.live.journal import Journal
from pghot.live.journal_file import JournalFile, read_journal
from pghot.live.knobs import knobs_of, put_back
from pghot.live.undo import undo

PID = 500
A, B, C = NUMA_BALANCING, PROMOTE_RATE_LIMIT, DEMOTION_ENABLED
GONE = 1 << 22  # a pid that no process has


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    made = FakeKernel(tmp_path)
    install(made, monkeypatch)
    return made


def program(kernel: FakeKernel, pid: int, now: list[int]) -> None:
    """A program with a page on each of these nodes."""
    kernel.program(pid, [maps_line(START, len(now))])
    for index, node in enumerate(now):
        kernel.populate(pid, index, 1, node)


def written(kernel: FakeKernel, path: Path, first: dict[int, list[int]]) -> JournalFile:
    """The journal of a pghot that ended: the first node of each page of these programs."""
    with Journal(path, kernel.root) as journal:
        for pid, nodes in first.items():
            journal.origins(space_of(pid), addresses(0, len(nodes)), np.array(nodes, np.uint8))
    found = read_journal(path)
    found.writer = (GONE, 0)
    return found


def pages_of(calls: list[list[tuple[int, int]]]) -> list[list[int]]:
    """Page numbers of each move_pages call."""
    return [[(address - START) // PAGE for _, address in call] for call in calls]


def test_pages_for_the_slower_node_go_first_in_address_order(kernel: FakeKernel, tmp_path: Path) -> None:
    program(kernel, PID, [1, 0, 1, 0, 0, 1])
    journal = written(kernel, tmp_path / "j", {PID: [0, 1, 0, 1, 0, 0]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pghot.live.undone.BATCH_PAGES", 2)
        done = undo(journal, kernel.root)
    # Pages 1 and 3 go down to node 1, then 0, 2 and 5 up to node 0, two a call; page 4 is at home.
    assert pages_of(kernel.moves) == [[1, 3], [0, 2], [5]]
    assert (done.pages_back, done.pages_home, done.pages_gone, done.pages_left) == (5, 1, 0, {})


def test_a_batch_that_holds_both_kinds_is_in_address_order(kernel: FakeKernel, tmp_path: Path) -> None:
    program(kernel, PID, [1, 0, 1, 0])
    journal = written(kernel, tmp_path / "j", {PID: [0, 1, 0, 1]})
    undo(journal, kernel.root)
    assert pages_of(kernel.moves) == [[0, 1, 2, 3]]


def test_a_full_fast_node_is_emptied_before_it_is_filled(kernel: FakeKernel, tmp_path: Path) -> None:
    # Node 0 has no free page: only because pages 600 and on leave it first can 0 to 599 come back.
    program(kernel, PID, [1] * 600 + [0] * 600)
    journal = written(kernel, tmp_path / "j", {PID: [0] * 600 + [1] * 600})
    kernel.free[0] = 0
    done = undo(journal, kernel.root)
    assert (done.pages_back, done.pages_left) == (1200, {})
    assert [len(call) for call in kernel.moves] == [512, 512, 176]  # 1200 = 2 * 512 + 176, in one round


def test_each_count_by_hand(kernel: FakeKernel, tmp_path: Path) -> None:
    program(kernel, PID, [0] * 10)
    journal = written(kernel, tmp_path / "j", {PID: [1] * 6 + [0] * 4})
    kernel.unmap((PID, START))  # 0: gone, was away
    kernel.unmap((PID, START + 9 * PAGE))  # 9: gone, was at home
    kernel.shared = {(PID, START + PAGE)}  # 1: stays away
    kernel.busy = {
        (PID, START + 2 * PAGE): 4,
        (PID, START + 3 * PAGE): 5,
    }  # 2 goes in the fifth round, 3 never
    done = undo(journal, kernel.root)
    assert done.pages_gone == 2
    assert done.pages_left == {"500 (program)": 2}  # 1 and 3
    assert done.pages_back == 3  # 2, 4, 5
    assert done.pages_home == 3  # 6, 7, 8
    assert pages_of(kernel.moves) == [[1, 2, 3, 4, 5], [1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3]]
    assert not done.complete
    assert not read_journal(tmp_path / "j").undone


def test_a_page_that_its_program_gave_up_is_not_left(kernel: FakeKernel, tmp_path: Path) -> None:
    program(kernel, PID, [0, 0])
    journal = written(kernel, tmp_path / "j", {PID: [1, 1]})
    kernel.unmap((PID, START))
    done = undo(journal, kernel.root)
    assert (done.pages_back, done.pages_gone, done.complete) == (1, 1, True)
    assert read_journal(tmp_path / "j").undone


def test_a_program_that_ends_while_its_pages_go_back_is_gone(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(kernel, PID, [0, 0])
    journal = written(kernel, tmp_path / "j", {PID: [1, 1]})

    def last_words(pid: int, address: np.ndarray, node: np.ndarray, *flags: bool) -> np.ndarray:
        kernel.exit(pid)
        raise OSError(errno.ESRCH, "No such process")

    monkeypatch.setattr("pghot.live.undo.move_pages", last_words)
    done = undo(journal, kernel.root)
    assert done.processes_gone == ["500 (program)"]
    assert (done.pages_back, done.pages_home, done.pages_gone, done.pages_left) == (0, 0, 0, {})


def test_programs_go_one_after_the_other_with_progress(kernel: FakeKernel, tmp_path: Path) -> None:
    program(kernel, PID, [0] * 3)
    program(kernel, PID + 1, [0] * 5)
    journal = written(kernel, tmp_path / "j", {PID: [1] * 3, PID + 1: [1] * 5})
    steps: list[tuple[int, int]] = []
    done = undo(journal, kernel.root, lambda *step: steps.append(step))
    assert steps == [(3, 8), (8, 8)]
    assert done.pages_back == 8
    assert [call[0][0] for call in kernel.moves] == [PID, PID + 1]


def test_knobs_go_back_before_pages_and_the_last_changed_first(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(kernel, PID, [0])
    order: list[str] = []
    write, move_pages = SysRoot.write, kernel.move_pages

    def spied_write(self: SysRoot, name: str, text: str) -> None:
        order.append(f"{name}={text}")
        write(self, name, text)

    def spied_move(*arguments: object) -> object:
        order.append("pages")
        return move_pages(*arguments)  # type: ignore[arg-type]

    with Journal(tmp_path / "j", kernel.root) as journal:
        for path, value in ((A, "1"), (B, "64"), (C, "true")):
            put(tmp_path, path.lstrip("/"), value)
        journal.knob(A, "0", "1")
        journal.knob(B, "65536", "64")
        journal.knob(C, "false", "true")
        journal.knob(A, "1", "2")
        journal.origins(space_of(PID), addresses(0, 1), np.ones(1, np.uint8))
    put(tmp_path, A.lstrip("/"), "2")
    found = read_journal(tmp_path / "j")
    found.writer = (GONE, 0)
    monkeypatch.setattr(SysRoot, "write", spied_write)
    monkeypatch.setattr("pghot.live.undo.move_pages", spied_move)
    done = undo(found, kernel.root)
    # A was changed first, though also last: it goes back last.
    assert order == [f"{C}=false", f"{B}=65536", f"{A}=0", "pages"]
    assert done.knobs == [C, B, A]


def test_the_knobs_of_some_changes() -> None:
    changes = [("/a", "0", "1"), ("/b", "5", "6"), ("/a", "1", "2"), ("/a", "0", "3"), ("/b", "9", "6")]
    a, b = knobs_of(changes)
    assert (a.path, a.old, a.ours) == ("/a", "0", {"1", "2", "3"})
    # Somebody else made b 9 between our two changes: that is what it was.
    assert (b.path, b.old, b.ours) == ("/b", "9", {"6"})


def test_a_knob_is_put_back_from_any_value_that_was_ours(tmp_path: Path) -> None:
    changes = [("/proc/a", "0", "1"), ("/proc/a", "1", "2")]
    for now, after, problems in (("1", "0", 0), ("2", "0", 0), ("0", "0", 0), ("3", "3", 1)):
        put(tmp_path, "proc/a", now)
        assert len(put_back(SysRoot(tmp_path), changes)[1]) == problems
        assert SysRoot(tmp_path).read("/proc/a") == after


def test_a_knob_that_is_gone_or_refuses_keeps_no_other_from_going_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = [("/proc/a", "0", "1"), ("/proc/b", "0", "1"), ("/proc/c", "0", "1"), ("/proc/d", "0", "1")]
    write = SysRoot.write

    def refuse_c(self: SysRoot, name: str, text: str) -> None:
        if name == "/proc/c":
            raise OSError(22, "Invalid argument")
        write(self, name, text)

    for name in "acd":
        put(tmp_path, f"proc/{name}", "1")
    put(tmp_path, "proc/d", "9")  # somebody else's
    monkeypatch.setattr(SysRoot, "write", refuse_c)
    # From the last to the first: d is another's, c refuses, b is gone, a goes back.
    written, problems = put_back(SysRoot(tmp_path), changes)
    assert written == ["/proc/a"]
    assert [problem.split()[0] for problem in problems] == ["/proc/d", "/proc/c"]
    assert SysRoot(tmp_path).read("/proc/a") == "0"


def test_another_boot_has_nothing_to_put_back(kernel: FakeKernel, tmp_path: Path) -> None:
    program(kernel, PID, [0])
    journal = written(kernel, tmp_path / "j", {PID: [1]})
    journal.boot_id = BOOT_ID.replace("1", "2")
    done = undo(journal, kernel.root)
    assert (done.pages_back, kernel.moves, done.complete) == (0, [], True)
    assert read_journal(tmp_path / "j").undone


def test_damaged_lines_are_named_five_at_most(kernel: FakeKernel, tmp_path: Path) -> None:
    program(kernel, PID, [1])
    journal = written(kernel, tmp_path / "j", {PID: [1]})
    for damaged, named in (
        ([2, 3, 4, 5, 6], "line 2, 3, 4, 5, 6 of"),
        ([2, 3, 4, 5, 6, 7], "line 2, 3, 4, 5, 6, ... of"),
    ):
        journal.damaged = damaged
        done = undo(journal, kernel.root)
        assert named in done.problems[0]
        assert not done.complete


def test_its_own_journal_can_be_undone_by_the_pghot_that_writes_it(
    kernel: FakeKernel, tmp_path: Path
) -> None:
    program(kernel, PID, [0])
    kernel.program(os.getpid(), [], comm="pghot", start_ticks=0)
    journal = written(kernel, tmp_path / "j", {PID: [1]})
    journal.writer = (os.getpid(), 0)
    assert undo(journal, kernel.root).pages_back == 1
