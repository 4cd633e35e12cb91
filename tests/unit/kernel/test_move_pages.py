"""move_pages(2) itself, on memory of this very test: asking, moving to where pages are, and its errors."""

from __future__ import annotations

import errno
import mmap
import os
import platform
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from pghot.errors import UnsupportedError
from pghot.kernel.move_pages import move_pages, query_nodes
from pghot.kernel.pagemap import PRESENT, flagged
from pghot.kernel.sysroot import SysRoot

PAGES = 8
HERE = os.getpid()


@pytest.fixture
def memory() -> Iterator[np.ndarray]:
    """Addresses of eight pages, of which the first five are present."""
    with mmap.mmap(-1, PAGES * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        held.madvise(mmap.MADV_NOHUGEPAGE)
        held[: 5 * 4096] = b"x" * (5 * 4096)
        start = np.frombuffer(held, np.uint8).ctypes.data
        yield np.uint64(start) + np.arange(PAGES, dtype=np.uint64) * np.uint64(4096)


def test_present_pages_have_a_node_and_the_others_an_errno(memory: np.ndarray) -> None:
    status = query_nodes(HERE, memory)
    assert (status[:5] >= 0).all()
    assert np.isin(status[5:], [-errno.ENOENT, -errno.EFAULT]).all()
    assert query_nodes(HERE, np.zeros(1, np.uint64)).tolist() == [-errno.EFAULT]
    assert len(query_nodes(HERE, memory[:0])) == 0


def test_pagemap_agrees(memory: np.ndarray) -> None:
    start = int(memory[0])
    present = flagged(SysRoot(), HERE, start, start + PAGES * 4096, PRESENT)
    assert present.tolist() == memory[:5].tolist()


def test_moving_pages_to_where_they_are_is_allowed(memory: np.ndarray) -> None:
    node = query_nodes(HERE, memory[:5])
    assert move_pages(HERE, memory[:5], node).tolist() == node.tolist()


def test_a_node_that_is_not_there_is_an_error(memory: np.ndarray) -> None:
    with pytest.raises(OSError, match="No such device") as caught:
        move_pages(HERE, memory[:1], np.array([1000], np.int32))
    assert caught.value.errno == errno.ENODEV


def test_a_process_that_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    with pytest.raises(ProcessLookupError):
        query_nodes(child.pid, np.zeros(1, np.uint64))


def test_a_processor_without_a_known_system_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "pdp11")
    with pytest.raises(UnsupportedError, match="pdp11"):
        query_nodes(HERE, np.zeros(1, np.uint64))
