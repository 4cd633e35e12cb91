"""A second user of a program's memory, seen by what only the last user takes away: its mappings."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pghot.kernel.held_mm import held_mm
from pghot.kernel.sysroot import SysRoot
from waiting import until

MAPS_IT = "import mmap, sys; kept = mmap.mmap(int(sys.argv[1]), 4096); print('mapped', flush=True); sys.stdin.read()"


@pytest.fixture
def shared() -> Iterator[int]:
    """A memfd of a page. It cannot be sealed against writing while somebody maps it."""
    fd = os.memfd_create("shared", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 4096)
    yield fd
    os.close(fd)


def mapped(shared: int) -> bool:
    try:
        fcntl.fcntl(shared, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    except OSError as error:
        if error.errno == errno.EBUSY:
            return True
        raise
    return False


def program(shared: int) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", MAPS_IT, str(shared)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=(shared,),
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "mapped\n"
    return child


def end(child: subprocess.Popen[str]) -> None:
    """Killed, it unmaps nothing itself. It can be waited for when its memory has one user less."""
    child.kill()
    child.communicate()


def waits() -> bool:
    """Whether a thread of ours is in the kernel for its page."""
    names = []
    for thread in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{thread}/wchan") as file:
            names.append(file.read())
    return "handle_userfault" in names


def test_the_memory_of_a_program_that_ended_is_there_until_it_is_let_go(shared: int) -> None:
    child = program(shared)
    try:
        with held_mm(SysRoot(), child.pid):
            until(lambda: waits(), "the reader waits")
            end(child)
            assert mapped(shared)
        assert not mapped(shared)
    except PermissionError:
        pytest.skip("userfaultfd is not for this user")
    finally:
        child.kill()


def test_without_it_the_memory_goes_with_the_program(shared: int) -> None:
    child = program(shared)
    end(child)
    assert not mapped(shared)


def test_a_program_that_is_gone_is_an_error() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError), held_mm(SysRoot(), child.pid):
        pass
    assert os.listdir("/proc/self/fd") == before
