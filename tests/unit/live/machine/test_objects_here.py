"""Files and shared memory on this machine: real programs, real maps and pagemaps."""

from __future__ import annotations

import mmap
import os
import signal
from pathlib import Path

import numpy as np

from pghot.arrays import U64
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.kinds import Kinds
from pghot.live.machine.spaces import Spaces
from waiting import until

PAGES = 64


def address_of(memory: mmap.mmap, pages: int = PAGES) -> U64:
    begin = np.frombuffer(memory, np.uint8).ctypes.data
    return np.uint64(begin) + np.arange(pages, dtype=np.uint64) * np.uint64(4096)


def known(spaces: Spaces, *pids: int) -> Spaces:
    """The spaces of these programs, once their policies are known: the process that runs all tests may be large."""

    def asked() -> bool:
        spaces.refresh(pids)
        return spaces.policy_unknown_bytes() == 0

    until(asked, "the policies of the test's own process")
    return spaces


def test_parent_and_child_show_one_page_of_shared_memory_and_two_of_private() -> None:
    with mmap.mmap(-1, PAGES * 4096) as shared, mmap.mmap(-1, PAGES * 4096, mmap.MAP_PRIVATE) as private:
        shared[:] = private[:] = bytes(PAGES * 4096)
        ready, tell = os.pipe()
        if (child := os.fork()) == 0:
            os.write(tell, b".")
            signal.pause()
        assert os.read(ready, 1) == b"."
        spaces = known(Spaces(SysRoot(), 64), os.getpid(), child)
        for memory, same in ((shared, True), (private, False)):
            address = address_of(memory)
            (here, movable), (there, also) = (
                spaces.lookup(np.full(PAGES, pid, np.int32), address) for pid in (os.getpid(), child)
            )
            assert movable.all()
            assert also.all()
            assert (here == there).all() == same
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(tell)


def test_a_written_page_of_a_private_mapping_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(PAGES * 4096))
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE) as memory:
        _ = [memory[page << 12] for page in range(PAGES)]
        memory[5 << 12] = 1
        spaces = known(Spaces(SysRoot(), 64, Kinds.of(["anon", "file"])), os.getpid())
        page, movable = spaces.lookup(np.full(PAGES, os.getpid(), np.int32), address_of(memory))
        assert movable.all()
        number, where = spaces.table.where(page)
        files = [spaces.objects.file(each) for each in number.tolist()]
        assert [i for i, each in enumerate(files) if each is None] == [5]
        assert {each.name for each in files if each} == {str(path)}
        others = np.arange(PAGES) != 5
        assert where[others].tolist() == (np.arange(PAGES)[others] << 12).tolist()


def test_private_zeroes_are_anonymous() -> None:
    with open("/dev/zero", "r+b") as zero, mmap.mmap(zero.fileno(), PAGES * 4096, mmap.MAP_PRIVATE) as memory:
        memory[0] = 1
        spaces = known(Spaces(SysRoot(), 64), os.getpid())
        page, movable = spaces.lookup(np.full(1, os.getpid(), np.int32), address_of(memory, 1))
        assert movable.all()
        assert spaces.objects.file(int(spaces.table.where(page)[0][0])) is None
