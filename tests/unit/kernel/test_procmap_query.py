"""PROCMAP_QUERY says of each mapping what the text of maps says, for a real program with mappings of many forms."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pghot.arrays import U64
from pghot.kernel.maps import Mappings
from pghot.kernel.maps_text import parse_maps, read_maps
from pghot.kernel.procmap_query import mappings_at
from pghot.kernel.sysroot import SysRoot

ROOT = SysRoot()
# Private and shared, of nothing, /dev/zero, a memfd, a file with blanks and a newline in its name at an offset, and one
# that is gone; without rights, and with all of them.
PROGRAM = """
import mmap, os, sys
kept = [mmap.mmap(-1, 8192, flags) for flags in (mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.MAP_SHARED)]
def of_file(fd, flags, rights=mmap.PROT_READ, offset=0):
    kept.append(mmap.mmap(fd, 4096, flags, rights, offset=offset))
memory = os.memfd_create("some memory")
os.ftruncate(memory, 65536)
of_file(memory, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, 8192)
of_file(os.open("/dev/zero", os.O_RDWR), mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
for name in sys.argv[1:]:
    fd = os.open(name, os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 65536)
    of_file(fd, mmap.MAP_PRIVATE, 7, 12288)
    of_file(fd, mmap.MAP_SHARED, 0)
os.unlink(name)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def pid(tmp_path: Path) -> Iterator[int]:
    names = [str(tmp_path / "a file\nof two lines"), str(tmp_path / "gone")]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *names], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        yield program.pid
        assert program.stdin is not None
        program.stdin.close()


@pytest.fixture(autouse=True)
def query(pid: int) -> None:
    if mappings_at(ROOT, pid, np.array([0], np.uint64), 1) is None:
        pytest.skip("the kernel has no PROCMAP_QUERY")


def columns(mappings: Mappings) -> list[list[int]]:
    return [column.tolist() for column in mappings._columns()]


def each_page_of(mappings: Mappings) -> U64:
    """The first and the last page of each."""
    return np.stack((mappings.start, mappings.end - np.uint64(4096)), 1).ravel()


def test_all_mappings_of_a_program_one_by_one(pid: int) -> None:
    text = ROOT.read_bytes(f"/proc/{pid}/maps")
    known = parse_maps(text)
    lines = mappings_at(ROOT, pid, each_page_of(known), len(known))
    assert lines is not None
    assert columns(parse_maps(lines)) == columns(known)
    # Word for word, the blanks before a name aside.
    theirs = [line.split(maxsplit=5) for line in text.splitlines() if b"[vsyscall]" not in line]
    assert [line.split(maxsplit=5) for line in lines.splitlines()] == theirs
    names = b"\n".join(line[5] for line in theirs if len(line) > 5)
    for expected in (
        b"a file\\012of two lines",
        b"gone (deleted)",
        b"/memfd:some memory (deleted)",
        b"/dev/zero",
        b"[stack]",
    ):
        assert expected in names


def test_only_what_is_asked_for_and_nothing_where_nothing_is(pid: int) -> None:
    known = read_maps(ROOT, pid)
    holes = np.flatnonzero(known.start[1:] > known.end[:-1])
    ask = np.sort(np.append(known.end[holes], known.start[[3, 5]]))
    lines = mappings_at(ROOT, pid, ask, len(ask))
    assert lines is not None
    assert parse_maps(lines).start.tolist() == known.start[[3, 5]].tolist()


def test_no_more_questions_than_allowed(pid: int) -> None:
    known = read_maps(ROOT, pid)
    assert mappings_at(ROOT, pid, each_page_of(known)[:6], 3) is not None
    assert mappings_at(ROOT, pid, each_page_of(known)[:7], 3) is None


def test_a_kernel_without_it_and_a_program_that_is_gone(pid: int, tmp_path: Path) -> None:
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/maps").write_text("1000-2000 rw-p 00000000 00:00 0\n")
    assert mappings_at(SysRoot(tmp_path), 7, np.array([4096], np.uint64), 5) is None
    with pytest.raises(FileNotFoundError):
        mappings_at(ROOT, 2**22 + 1, np.array([4096], np.uint64), 5)
