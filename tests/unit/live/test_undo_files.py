"""Undo of pages of files, with real programs that map a memfd; where the pages are is made up, as there is one node."""

from __future__ import annotations

import mmap
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pghot.arrays import I32, U64
from pghot.errors import NotPermittedError
from pghot.kernel.maps_text import read_maps
from pghot.kernel.statx import born_ns
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import FileIdentity, MappedFile
from pghot.live import undo_files
from pghot.live.journal import Journal
from pghot.live.journal_file import read_journal
from pghot.live.machine.kinds import shared_need
from pghot.live.undo import undo_open
from pghot.live.undone import Undone

ROOT = SysRoot()
PAGES = 64
pytestmark = pytest.mark.skipif(not shared_need(ROOT).met, reason=shared_need(ROOT).why)


class Nodes:
    """Where the pages of the file are, by their place in our window: all on node 0, but those in `away`."""

    def __init__(self, away: set[int]) -> None:
        self.away, self.moved, self.first = away, 0, 0

    def query(self, pid: int, address: U64) -> I32:
        assert pid == os.getpid()
        self.first = self.first or int(address[0])
        page = (address - np.uint64(self.first)) >> np.uint64(12)
        return np.array([int(each in self.away) for each in page.tolist()], np.int32)

    def move(self, pid: int, address: U64, node: I32, everyone: bool = False) -> I32:
        assert everyone, "whoever maps them by now"
        page = (address - np.uint64(self.first)) >> np.uint64(12)
        self.away -= {int(each) for each in page.tolist()}
        self.moved += len(address)
        return node


@pytest.fixture
def memfd() -> Iterator[int]:
    fd = os.memfd_create("pghot-test")
    os.ftruncate(fd, (PAGES + 8) * 4096)
    yield fd
    os.close(fd)


def touching(fd: int, pages: int) -> int:
    """A program that has touched the first pages of the file, and waits."""
    ready, tell = os.pipe()
    if (pid := os.fork()) == 0:
        memory = mmap.mmap(fd, (PAGES + 8) * 4096)
        for page in range(pages):
            memory[page << 12] = 1
        os.write(tell, b".")
        signal.pause()
    assert os.read(ready, 1) == b"."
    os.close(ready)
    os.close(tell)
    return pid


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def identity(pid: int, fd: int) -> FileIdentity:
    maps, inode = read_maps(ROOT, pid), os.fstat(fd).st_ino
    (row,) = np.flatnonzero((maps.inode == inode) & (maps.device == 1)).tolist()
    return FileIdentity(1, inode, born_ns(ROOT, pid, int(maps.start[row]), int(maps.end[row])))


def put_back(
    journal: Path, file: FileIdentity, pages: int, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> Undone:
    """Undo of a journal by which these pages of the file came from node 0."""
    monkeypatch.setattr(undo_files, "query_nodes", nodes.query)
    monkeypatch.setattr(undo_files, "move_pages", nodes.move)
    with Journal(journal, ROOT) as made:
        address = np.arange(pages, dtype=np.uint64) << np.uint64(12)
        made.origins(MappedFile(1, file, "/memfd:pghot-test"), address, np.zeros(pages, np.uint8))
        return undo_open(made, ROOT)


@pytest.mark.parametrize("first_ends", [False, True])
def test_pages_go_home_through_whoever_maps_the_file(
    memfd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_ends: bool
) -> None:
    """The second program has touched a page only; the others are in no page table once the first is gone."""
    one, two = touching(memfd, PAGES), touching(memfd, 1)
    file = identity(one, memfd)
    assert file.born_ns > 0
    if first_ends:
        end(one)
    nodes = Nodes({3, 4, 60})
    undone = put_back(tmp_path / "j", file, PAGES, nodes, monkeypatch)
    assert (undone.pages_back, undone.pages_home, undone.pages_gone) == (3, PAGES - 3, 0)
    assert nodes.moved == 3
    assert undone.complete
    for pid in [two] if first_ends else [one, two]:
        end(pid)


def test_pages_that_were_given_up_are_gone_and_not_made_anew(
    memfd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = touching(memfd, PAGES)
    before = os.fstat(memfd).st_blocks
    undone = put_back(tmp_path / "j", identity(one, memfd), PAGES + 20, Nodes(set()), monkeypatch)
    assert (undone.pages_home, undone.pages_gone) == (PAGES, 20)
    assert os.fstat(memfd).st_blocks == before
    end(one)


@pytest.mark.parametrize("other", [{"born_ns": 1}, {"inode": 1 << 40}, {"device": 2}])
def test_another_file_is_left_alone(
    memfd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, int]
) -> None:
    one = touching(memfd, PAGES)
    nodes = Nodes({3})
    undone = put_back(tmp_path / "j", replace(identity(one, memfd), **other), PAGES, nodes, monkeypatch)
    assert nodes.moved == 0
    assert (undone.processes_gone, undone.files_gone) == ([], ["/memfd:pghot-test"])
    end(one)


def test_a_file_system_that_does_not_know_when_a_file_was_born(
    memfd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = touching(memfd, PAGES)
    file = replace(identity(one, memfd), born_ns=0)
    assert put_back(tmp_path / "j", file, PAGES, Nodes({3}), monkeypatch).pages_back == 1
    end(one)


def test_pages_that_do_not_come_are_left_and_named(
    memfd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = touching(memfd, PAGES)
    nodes = Nodes({3, 4})
    monkeypatch.setattr(nodes, "move", lambda pid, address, node, everyone: node)
    undone = put_back(tmp_path / "j", identity(one, memfd), PAGES, nodes, monkeypatch)
    assert undone.pages_left == {"/memfd:pghot-test": 2}
    assert not undone.complete
    end(one)


@pytest.mark.parametrize("refuses", ["open_mapped", "move_pages"])
def test_without_the_rights_it_says_which(
    memfd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: str
) -> None:
    one = touching(memfd, PAGES)
    nodes = Nodes({3})

    def refuse(*_: object, **__: object) -> I32:
        raise PermissionError

    if refuses == "open_mapped":
        monkeypatch.setattr(undo_files, "open_mapped", refuse)
    monkeypatch.setattr(nodes, "move", refuse)
    right = "CAP_SYS_ADMIN" if refuses == "open_mapped" else "CAP_SYS_NICE"
    with pytest.raises(NotPermittedError) as error:
        put_back(tmp_path / "j", identity(one, memfd), PAGES, nodes, monkeypatch)
    assert right in error.value.hint
    end(one)


def test_files_and_programs_of_one_journal_are_kept_apart(tmp_path: Path) -> None:
    files = [MappedFile(n, FileIdentity(1, 7, born), f"file {n}") for n, born in ((1, 5), (2, 6), (3, 5))]
    with Journal(tmp_path / "j", ROOT) as journal:
        for file in files:
            journal.origins(file, np.array([file.number << 12], np.uint64), np.array([file.number], np.uint8))
    read = read_journal(tmp_path / "j")
    assert read.spaces == []
    assert [(entry.identity.born_ns, *map(np.ndarray.tolist, entry.origins())) for entry in read.files] == [
        (5, [1 << 12, 3 << 12], [1, 3]),
        (6, [2 << 12], [2]),
    ]
