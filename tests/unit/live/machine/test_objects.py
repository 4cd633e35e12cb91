"""Pages of files and shared memory: one page whoever maps it, who else maps it, and what of it moves."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from builders.live_loop import START, FakeKernel, addresses, install, maps_line, mover, seen
from builders.machine_trees import put
from pghot.arrays import U32
from pghot.kernel.maps import MappingKind
from pghot.live.journal_file import read_journal
from pghot.live.machine.kinds import ANON_ONLY, BY_DEFAULT, Kinds
from pghot.live.machine.sections import SECTION_PAGES
from pghot.live.machine.spaces import Spaces

ONE, TWO, STRANGER = 500, 501, 502
SHMEM, DISK = "00:01", "08:01"  # the first is where memfd and the like are, in a captured tree
ELSEWHERE = START + (3 << 30)
NAMED = Kinds.of(["anon", "shmem", "file"])


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    made = FakeKernel(tmp_path)
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    os.symlink("pid:[4026531836]", tmp_path / "proc/self/ns/pid")
    install(made, monkeypatch)
    return made


def memfd(start: int, pages: int, offset: int = 0, inode: int = 7) -> str:
    return maps_line(start, pages, "rw-s", inode, "/memfd:x (deleted)", SHMEM, offset)


def pages_of(spaces: Spaces, pid: int, start: int, pages: int) -> U32:
    page, movable = spaces.lookup(np.full(pages, pid, np.int32), addresses(0, pages, start))
    assert movable.all()
    return page


def test_two_programs_see_one_page(kernel: FakeKernel) -> None:
    """The second maps the file from its ninth page on, elsewhere."""
    kernel.program(ONE, [memfd(START, 64)])
    kernel.program(TWO, [memfd(ELSEWHERE, 56, 8 * 4096)])
    spaces = Spaces(kernel.root, 4)
    spaces.refresh([ONE, TWO])
    one, two = pages_of(spaces, ONE, START, 64), pages_of(spaces, TWO, ELSEWHERE, 56)
    assert two.tolist() == one[8:].tolist()
    assert len(spaces.table) == 1, "one section, which is the file's"
    number, offset = spaces.table.where(one)
    (file,) = {spaces.objects.file(int(each)) for each in np.unique(number)}
    assert file is not None
    assert (file.identity.device, file.identity.inode, file.name) == (1, 7, "/memfd:x (deleted)")
    assert offset.tolist() == addresses(0, 64, 0).tolist()
    assert [space.start.tolist() for space in spaces.spaces] == [[START], [ELSEWHERE]], "sources watch both"


def test_a_page_is_asked_about_where_it_was_seen_last(kernel: FakeKernel) -> None:
    kernel.program(ONE, [memfd(START, 64)])
    kernel.program(TWO, [memfd(ELSEWHERE, 64)])
    spaces = Spaces(kernel.root, 4)
    spaces.refresh([ONE, TWO])
    page = pages_of(spaces, ONE, START, 64)
    pages_of(spaces, TWO, ELSEWHERE, 2)
    pid, address = spaces.seen_at(page[:3])
    assert pid.tolist() == [TWO, TWO, ONE]
    assert address.tolist() == [ELSEWHERE, ELSEWHERE + 4096, START + 2 * 4096]
    kernel.exit(TWO)
    spaces.refresh([ONE])
    assert spaces.seen_at(page[:1])[0].tolist() == [ONE], "through whoever is left"
    kernel.exit(ONE)
    assert spaces.refresh([]).forgotten == [slice(0, SECTION_PAGES)], "nobody maps it any more"
    assert spaces.numbers() == []


def test_a_segment_of_system_v_is_no_memfd_with_its_number(kernel: FakeKernel) -> None:
    """Both lie in the kernel's own tmpfs and are numbered independently; the first segment has inode 0."""
    segment = maps_line(ELSEWHERE, 8, "rw-s", 0, "/SYSV00000000 (deleted)", SHMEM)
    kernel.program(ONE, [memfd(START, 8, inode=0), segment, memfd(ELSEWHERE + (1 << 30), 8, inode=9)])
    spaces = Spaces(kernel.root, 4)
    spaces.refresh([ONE])
    found = [pages_of(spaces, ONE, start, 1)[0] for start in (START, ELSEWHERE, ELSEWHERE + (1 << 30))]
    assert len(set(found)) == 3


def test_kinds_that_were_not_asked_for_are_counted(kernel: FakeKernel) -> None:
    disk = maps_line(ELSEWHERE, 8, "rw-s", 9, "/var/data", DISK)
    kernel.program(ONE, [memfd(START, 8), disk, maps_line(ELSEWHERE + (1 << 30), 8)])
    left = {}
    for kinds in (ANON_ONLY, BY_DEFAULT, Kinds.of(["file"])):
        spaces = Spaces(kernel.root, 4, kinds)
        spaces.refresh([ONE])
        for at, start in enumerate((START, ELSEWHERE, ELSEWHERE + (1 << 30)), 1):
            spaces.lookup(np.full(at, ONE, np.int32), addresses(0, at, start))
        left[kinds] = {reason: count for reason, count in spaces.skipped.items() if count}
    assert list(left.values()) == [{"shmem": 1, "file": 2}, {"file": 2}, {"shmem": 1, "anon": 3}]


def test_file_systems_say_what_a_mapping_is(kernel: FakeKernel) -> None:
    mounts = ("33 1 0:40 / /dev/shm rw - tmpfs tmpfs rw", "34 1 0:41 / /huge rw - hugetlbfs none rw")
    put(kernel.tree, f"proc/{ONE}/mountinfo", "\n".join((*mounts, "35 1 0:5 / /dev rw - devtmpfs udev rw\n")))
    lines = [
        maps_line(START + (i << 20), 8, "rw-s", 9, name, device)
        for i, (name, device) in enumerate(
            [("/dev/shm/x", "00:28"), ("/huge/x", "00:29"), ("/dev/dri/card0", "00:05"), ("/var/x", "00:33")]
        )
    ]
    kernel.program(ONE, lines)
    spaces = Spaces(kernel.root, 4, ANON_ONLY)
    spaces.refresh([ONE])
    for i in range(4):
        spaces.lookup(np.full(i + 1, ONE, np.int32), addresses(0, i + 1, START + (i << 20)))
    assert {reason: count for reason, count in spaces.skipped.items() if count} == {
        "shmem": 1, "hugetlb": 2, "special": 3, "file": 4,
    }  # fmt: skip


def test_a_copy_of_a_files_page_is_the_programs_own(kernel: FakeKernel) -> None:
    """Of a private mapping bit 61 of pagemap says which pages are still the file's: here all but the second."""
    library = maps_line(START, 4, "rw-p", 9, "/lib/x.so", DISK)
    for pid in (ONE, TWO):
        kernel.program(pid, [library])
        with open(kernel.tree / f"proc/{pid}/pagemap", "r+b") as pagemap:
            pagemap.seek(8 * (START >> 12))
            pagemap.write(np.array([0xA << 60, 0x8 << 60, 0xA << 60, 0], np.uint64).tobytes())
    for kinds, files_own in ((BY_DEFAULT, 0), (NAMED, 3)):
        spaces = Spaces(kernel.root, 8, kinds)
        spaces.refresh([ONE, TWO])
        found = [spaces.lookup(np.full(4, pid, np.int32), addresses(0, 4)) for pid in (ONE, TWO)]
        assert found[0][1].tolist() == [bool(files_own), True, bool(files_own), bool(files_own)]
        same = found[0][0] == found[1][0]
        assert same.tolist() == [bool(files_own), False, bool(files_own), bool(files_own)]
        assert spaces.skipped["file"] == 2 * (3 - files_own)


def shared(kernel: FakeKernel, *pids: int) -> None:
    """Programs that map the same 64 pages, all on node 1."""
    for pid in pids:
        kernel.program(pid, [memfd(START, 64)])
        kernel.map_file(pid, "/memfd:x (deleted)", 0, 64, START, 1)


def on_fast(kernel: FakeKernel) -> int:
    return sum(node == 0 for node in kernel.node.values())


def test_pages_of_one_program_move_and_the_journal_names_the_file(kernel: FakeKernel) -> None:
    shared(kernel, ONE)
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, ONE, addresses(0, 16))
        assert len(machine.migrate(page, 0, "kmigrated").moved) == 16
        assert kernel.journal is not None
        read = read_journal(kernel.journal)
    assert on_fast(kernel) == 16
    assert read.spaces == []
    (entry,) = read.files
    assert (entry.identity.device, entry.identity.inode) == (1, 7)
    assert [part.tolist() for part in entry.origins()] == [addresses(0, 16, 0).tolist(), [1] * 16]


def test_pages_of_two_tracked_programs_move_once_it_is_known_that_they_are_all(kernel: FakeKernel) -> None:
    shared(kernel, ONE, TWO)
    with mover(kernel) as (machine, spaces):
        page = np.union1d(
            seen(machine, spaces, ONE, addresses(0, 16)), seen(machine, spaces, TWO, addresses(8, 16))
        )
        assert len(page) == 24
        assert len(machine.migrate(page, 0, "kmigrated").moved) == 24
    assert on_fast(kernel) == 24


@pytest.mark.parametrize("named", [False, True])
def test_what_a_stranger_maps_is_left_alone_and_counted(kernel: FakeKernel, named: bool) -> None:
    """Named, it moves. Pages that only the tracked one has touched move in any case."""
    shared(kernel, ONE, STRANGER)
    kernel.map_file(ONE, "/memfd:x (deleted)", 64, 8, START + 64 * 4096, 1)
    kernel.program(ONE, [memfd(START, 72)])
    with mover(kernel, pids=[ONE], kinds=NAMED if named else BY_DEFAULT) as (machine, spaces):
        page = seen(machine, spaces, ONE, addresses(48, 24))
        machine.migrate(page, 0, "kmigrated")
        seen(machine, spaces, ONE, addresses(48, 24))
        assert spaces.skipped["shared"] == (0 if named else 16)
        assert machine.counts.status == ({} if named else {"EACCES": 16})
    assert on_fast(kernel) == (24 if named else 8)


def test_what_is_refused_is_tried_again_when_the_stranger_has_gone(kernel: FakeKernel) -> None:
    shared(kernel, ONE, TWO, STRANGER)
    with mover(kernel, pids=[ONE, TWO]) as (machine, spaces):
        page = seen(machine, spaces, ONE, addresses(0, 16))
        assert len(machine.migrate(page, 0, "kmigrated").moved) == 0
        kernel.exit(STRANGER)
        spaces.refresh([ONE, TWO])
        assert len(machine.migrate(page, 0, "kmigrated").moved) == 16
        kernel.program(STRANGER, [memfd(ELSEWHERE, 64)])
        kernel.map_file(STRANGER, "/memfd:x (deleted)", 0, 64, ELSEWHERE, 1)
        spaces.refresh([ONE, TWO])
        more = seen(machine, spaces, ONE, addresses(16, 16))
        assert len(machine.migrate(more, 0, "kmigrated").moved) == 0, "and no more when one has come"


@pytest.mark.parametrize("why", ["unreadable", "another namespace"])
def test_where_not_everybody_is_seen_somebody_else_may_map_it(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    shared(kernel, ONE, TWO)
    if why == "another namespace":
        (kernel.tree / "proc/self/ns/pid").unlink()
        os.symlink("pid:[4026532001]", kernel.tree / "proc/self/ns/pid")
    else:
        kernel.program(STRANGER, [])

        def refuse(root: object, pid: int) -> bytes:
            raise PermissionError

        monkeypatch.setattr("pghot.live.machine.census.read_maps_text", refuse)
    with mover(kernel, pids=[ONE, TWO]) as (machine, spaces):
        page = seen(machine, spaces, ONE, addresses(0, 16))
        assert len(machine.migrate(page, 0, "kmigrated").moved) == 0
        assert set(spaces.pages.kind[page].tolist()) == {MappingKind.SHARED}
