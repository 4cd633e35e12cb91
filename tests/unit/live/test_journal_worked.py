"""What a journal says, line by line and run by run."""

from __future__ import annotations

import base64
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from builders.live_loop import space_of
from builders.machine_trees import put
from pghot import __version__
from pghot.errors import PghotError, UsageError
from pghot.kernel.knob_files import DEMOTION_ENABLED, NUMA_BALANCING, SCAN
from pghot.kernel.process import Identity
from pghot.kernel.sysroot import SysRoot
from pghot.live import journal as journal_module
from pghot.live.journal import Journal, runs_of
from pghot.live.journal_file import SpaceEntry, read_journal
from pghot.live.journal_lines import append_line
from pghot.live.journal_runs import RUN, line_of, pack, unpack

PAGE = 4096


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line.partition(" ")[2]) for line in path.read_text().splitlines()]


def origins(journal: Journal, pid: int, pages: list[int], nodes: list[int]) -> None:
    journal.origins(space_of(pid), np.array(pages, np.uint64) * np.uint64(PAGE), np.array(nodes, np.uint8))


def root(tree: Path) -> SysRoot:
    put(tree, "proc/sys/kernel/random/boot_id", "a boot")
    if not (tree / "proc/self/ns").exists():
        (tree / "proc/self/ns").mkdir(parents=True)
        (tree / "proc/self/ns/pid").symlink_to("pid:[4026531836]")
    return SysRoot(tree)


def unpacked(line: dict[str, object]) -> list[tuple[int, int, int]]:
    return unpack(base64.b64decode(str(line["runs"]))).tolist()


def test_each_line_names_boot_writer_and_process(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", root(tmp_path)) as journal:
        journal.knob(NUMA_BALANCING, "0", "1")
        journal.compressed(2)
        origins(journal, 500, [7, 8, 20], [1, 1, 0])
    session = {
        "format": 3, "boot_id": "a boot", "writer": [os.getpid(), 0], "pid_namespace": "pid:[4026531836]",
    }  # fmt: skip
    first, knob, compressed, pages = lines_of(tmp_path / "j")
    assert first.pop("command")
    assert first == {"kind": "journal", "pghot": __version__, **session}
    assert knob == {"kind": "knob", "path": NUMA_BALANCING, "old": "0", "new": "1", **session}
    assert compressed == {"kind": "compressed", "node": 2, **session}
    assert unpacked(pages) == [(7, 2, 1), (20, 1, 0)]
    del pages["runs"]
    assert pages == {
        "kind": "origins",
        "pid": 500,
        "start_ticks": 100,
        "mm": [1, 2, 3],
        "name": "program",
        **session,
    }


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", root(tmp_path)) as journal:
        journal.knob(NUMA_BALANCING, "0", "1")
        origins(journal, 500, [7], [1])
        found = read_journal(journal.path)
        assert (found.compressed, found.undone, found.damaged) == (False, False, [])
        journal.compressed(2)
        found = read_journal(journal.path)
    facts = (tmp_path / "j").stat()
    assert found.compressed
    assert (found.boot_id, found.writer, found.file) == (
        "a boot",
        (os.getpid(), 0),
        (facts.st_dev, facts.st_ino),
    )
    assert found.knobs == [(NUMA_BALANCING, "0", "1")]
    (entry,) = found.spaces
    assert (entry.identity, entry.name) == (Identity(500, 100, (1, 2, 3)), "program")


def test_runs_break_where_a_page_is_missing_or_the_node_changes() -> None:
    def runs(pages: list[int], nodes: list[int]) -> list[tuple[int, int, int]]:
        return runs_of(np.array(pages, np.uint64), np.array(nodes, np.uint8)).tolist()

    assert runs([3, 4, 5], [0, 0, 0]) == [(3, 3, 0)]
    assert runs([3, 4, 6], [0, 0, 0]) == [(3, 2, 0), (6, 1, 0)]
    assert runs([3, 4, 5], [0, 1, 1]) == [(3, 1, 0), (4, 2, 1)]
    assert runs([3, 4, 5, 9], [254, 0, 254, 254]) == [(3, 1, 254), (4, 1, 0), (5, 1, 254), (9, 1, 254)]
    assert runs([], []) == []


def test_many_runs_are_spread_over_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "LINE_RUNS", 2)
    with Journal(tmp_path / "j", root(tmp_path)) as journal:
        origins(journal, 500, [1, 3, 5, 7, 9], [0] * 5)
    assert [unpacked(line) for line in lines_of(tmp_path / "j")[1:]] == [
        [(1, 1, 0), (3, 1, 0)], [(5, 1, 0), (7, 1, 0)], [(9, 1, 0)],
    ]  # fmt: skip


def test_a_line_has_65536_runs_at_most(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", root(tmp_path)) as journal:
        origins(journal, 500, list(range(0, 2 * 65_537, 2)), [0] * 65_537)
    assert [len(unpacked(line)) for line in lines_of(tmp_path / "j")[1:]] == [65_536, 1]


def test_the_first_entry_of_a_page_is_where_it_came_from() -> None:
    entry = SpaceEntry(Identity(1, 1, (0, 0, 0)), "x")
    lines = [(10, 3, 1), (20, 1, 2)], [(9, 3, 0), (20, 2, 0)]
    entry.lines = [line_of(base64.b64encode(pack(np.array(runs, RUN))).decode()) for runs in lines]
    address, node = entry.origins()
    # 9 came later only; 10 to 12 are on node 1 first, 20 on node 2; 21 is new.
    assert (address // PAGE).tolist() == [9, 10, 11, 12, 20, 21]
    assert node.tolist() == [0, 1, 1, 1, 2, 0]
    assert (address.dtype, node.dtype) == (np.uint64, np.uint8)


def line_with(file: Path, /, **facts: object) -> list[int]:
    """Damaged lines of a journal whose second line says this."""
    with Journal(file, SysRoot(Path("/no/such/tree"))) as journal:
        journal.knob(NUMA_BALANCING, "0", "1")
    session = {name: lines_of(file)[0][name] for name in ("format", "boot_id", "writer")}
    fd = os.open(file, os.O_WRONLY | os.O_APPEND)
    append_line(fd, file, session | facts)
    os.close(fd)
    return read_journal(file).damaged


END = 1 << 52


@pytest.mark.parametrize(
    "runs, damaged",
    [
        ([(0, 1, 254)], False),
        ([(0, 1, 255)], True),  # "nowhere" is no node
        ([(END - 1, 1, 0)], False),  # the last page
        ([(END, 1, 0)], True),
        ([(END - 5, 5, 0)], False),
        ([(END - 5, 6, 0)], True),
        ([(0, 1 << 30, 0)], False),  # 2**30 pages are one line's most
        ([(0, 1 << 30, 0), (1 << 40, 1, 0)], True),
    ],
)
def test_pages_that_no_address_space_has_are_damage(
    tmp_path: Path, runs: list[tuple[int, int, int]], damaged: bool
) -> None:
    packed = base64.b64encode(pack(np.array(runs, RUN))).decode()
    found = line_with(
        tmp_path / "j", kind="origins", pid=5, start_ticks=6, mm=[1, 2, 3], name="x", runs=packed
    )
    assert found == ([3] if damaged else [])


@pytest.mark.parametrize(
    "path, old, new, damaged",
    [
        (NUMA_BALANCING, "0", "2", False),
        (DEMOTION_ENABLED, "false", "true", False),
        (f"{SCAN}/scan_size_mb", "256", "99999", False),
        (f"{SCAN}/scan_size_mb", "256", "0", True),  # the kernel would divide by it
        (NUMA_BALANCING, "0", "10", True),
        (NUMA_BALANCING, "10", "0", True),
        (NUMA_BALANCING, 0, 1, True),
        ("/proc/sys/kernel/core_pattern", "0", "2", True),
        ("/sys/../" + NUMA_BALANCING, "0", "2", True),
        (NUMA_BALANCING + "/x", "0", "2", True),
    ],
)
def test_what_may_be_a_knob(tmp_path: Path, path: str, old: object, new: object, damaged: bool) -> None:
    found = line_with(tmp_path / "j", kind="knob", path=path, old=old, new=new)
    assert found == ([3] if damaged else [])


@pytest.mark.parametrize("mode, believed", [(0o600, True), (0o644, True), (0o620, False), (0o602, False)])
def test_what_others_may_write_is_not_believed(tmp_path: Path, mode: int, believed: bool) -> None:
    with Journal(tmp_path / "j", root(tmp_path)) as journal:
        journal.knob(NUMA_BALANCING, "0", "1")
    (tmp_path / "j").chmod(mode)
    if believed:
        assert read_journal(tmp_path / "j").damaged == []
    else:
        with pytest.raises(UsageError, match=f"mode 0{mode:o}"):
            read_journal(tmp_path / "j")


def test_a_journal_is_left_only_when_something_was_changed(tmp_path: Path) -> None:
    acts = {
        "nothing": (lambda journal: None, False),
        "compressed": (lambda journal: journal.compressed(2), False),
        "knob": (lambda journal: journal.knob(NUMA_BALANCING, "0", "1"), True),
        "origins": (lambda journal: origins(journal, 1, [1], [0]), True),
    }
    for name, (act, left) in acts.items():
        with Journal(tmp_path / name, root(tmp_path)) as journal:
            act(journal)
        assert (tmp_path / name).exists() == left, name
        journal.close()  # again: harmless


def test_a_disk_that_fails_is_told_with_its_reason_and_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int, data: bytes) -> int:
        write(fd, data[:7])
        raise OSError(errno.EIO, "Input/output error")

    write = os.write
    with Journal(tmp_path / "j", root(tmp_path)) as journal:
        before = journal.path.read_bytes()
        monkeypatch.setattr(journal_module.os, "write", fail)
        with pytest.raises(PghotError, match=r"cannot write the journal .*/j: Input/output error"):
            journal.knob(NUMA_BALANCING, "0", "1")
        monkeypatch.undo()
        assert journal.path.read_bytes() == before


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", root(tmp_path)) as journal:
        assert journal.path.stat().st_mode & 0o777 == 0o600


def test_pages_that_do_not_ascend_come_back_as_they_went_in(tmp_path: Path) -> None:
    """The sections of a program that ended are given out again in another order: its dense pages ascend, the addresses
    of the one that has them now do not."""
    path = tmp_path / "j.pghot-journal"
    with Journal(path, root(tmp_path)) as journal:
        origins(journal, 500, [900, 901, 40, 41, 42, 7], [1, 1, 1, 0, 0, 1])
    (entry,) = read_journal(path).spaces
    address, node = entry.origins()
    found = dict(zip((address // np.uint64(PAGE)).tolist(), node.tolist(), strict=True))
    assert found == {7: 1, 40: 1, 41: 0, 42: 0, 900: 1, 901: 1}
