"""PROCMAP_QUERY on a real kernel: what it answers for a program with thousands of mappings, and who asks."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator

import numpy as np
import pytest

from pghot.kernel.maps import read_maps_text
from pghot.kernel.maps_text import parse_maps
from pghot.kernel.procmap_query import mappings_at
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine import spaces as spaces_module
from pghot.live.machine.spaces import Spaces

ROOT = SysRoot()
PAIRS = 1500  # of mappings, a page each
ASKED = 200
FAR = 1 << 44  # where nothing else is


class Many:
    """A child of this process in which every other page of some memory may not be written to."""

    def __init__(self) -> None:
        (self._told, tell), (wait, self._order) = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._order)  # else it would wait for itself
                _live(tell, wait)
            finally:
                os._exit(1)
        os.close(tell)
        os.close(wait)
        self.told()

    def told(self) -> None:
        assert os.read(self._told, 1)

    def map_one_more(self) -> None:
        """Four pages at `FAR`."""
        os.write(self._order, b"x")
        self.told()

    def end(self) -> None:
        os.close(self._order)
        os.waitpid(self.pid, 0)
        os.close(self._told)


def _live(tell: int, wait: int) -> None:
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    private, both = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE
    start = libc.mmap(None, PAIRS * 8192, both, private, -1, 0)
    for at in range(start, start + PAIRS * 8192, 8192):
        libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(4096), mmap.PROT_READ)
    os.write(tell, b"x")
    os.read(wait, 1)
    assert libc.mmap(FAR, 4 * 4096, both, private | 0x100000, -1, 0) == FAR  # MAP_FIXED_NOREPLACE
    ctypes.memset(FAR, 1, 4 * 4096)
    os.write(tell, b"x")
    os.read(wait, 1)


@pytest.fixture
def many() -> Iterator[Many]:
    made = Many()
    try:
        yield made
    finally:
        made.end()


@pytest.mark.two_tiers
@pytest.mark.linux_7_3
def test_the_answers_are_what_maps_says(many: Many) -> None:
    lines = [line.split(maxsplit=5) for line in read_maps_text(ROOT, many.pid).splitlines()]
    lines = [line for line in lines if b"[vsyscall]" not in line]
    assert len(lines) > 2 * PAIRS
    which = np.sort(np.random.default_rng(23).choice(len(lines), ASKED, replace=False))
    expected = [lines[each] for each in which]
    at = np.array([int(line[0].split(b"-")[0], 16) for line in expected], np.uint64)
    said = mappings_at(ROOT, many.pid, at, ASKED)
    assert said is not None
    assert [line.split(maxsplit=5) for line in said.splitlines()] == expected
    assert mappings_at(ROOT, many.pid, np.array([FAR], np.uint64), 1) == b""
    assert mappings_at(ROOT, many.pid, at, ASKED - 1) is None


@pytest.mark.two_tiers
@pytest.mark.linux_7_3
def test_what_was_sighted_is_asked_for_and_not_all_is_read(
    many: Many, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []

    def read(root: SysRoot, pid: int) -> bytes:
        reads.append(pid)
        return read_maps_text(root, pid)

    monkeypatch.setattr(spaces_module, "read_maps_text", read)
    monkeypatch.setattr(spaces_module, "READ_EACH_TIME", 500)
    spaces = Spaces(ROOT, 8)
    pid, address = (
        np.full(4, many.pid, np.int32),
        np.uint64(FAR) + np.arange(4, dtype=np.uint64) * np.uint64(4096),
    )
    spaces.refresh([many.pid])
    many.map_one_more()
    assert spaces.lookup(pid, address)[1].tolist() == [False] * 4
    assert spaces.refresh([many.pid]).any
    assert spaces.lookup(pid, address)[1].tolist() == [True] * 4
    assert reads == [many.pid], "only when it was found"
    (space,) = spaces.spaces
    theirs = parse_maps(read_maps_text(ROOT, many.pid)).movable()
    assert [space.start.tolist(), space.end.tolist()] == [each.tolist() for each in theirs]


@pytest.mark.linux_6_1
def test_6_1_cannot_tell(many: Many) -> None:
    assert mappings_at(ROOT, many.pid, np.array([FAR], np.uint64), 1) is None
