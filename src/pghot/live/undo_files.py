"""Undo for pages of files and of shared memory: through any program that still maps them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence

import numpy as np

from pghot.arrays import I32, I64, U8, U64
from pghot.kernel.file_systems import FileSystems, Memory
from pghot.kernel.file_window import FileWindow
from pghot.kernel.map_files import open_mapped
from pghot.kernel.maps_text import read_maps
from pghot.kernel.move_pages import move_pages, query_nodes
from pghot.kernel.process import refused
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import FileIdentity
from pghot.live.journal_file import FileEntry
from pghot.live.journal_runs import Range, joined_ranges, pages_outside, pieces
from pghot.live.mapped_files import Mapped, find_mapped
from pghot.live.undone import ROUNDS, Undone, slowest_first
from pghot.units import PAGE_BYTES

_WINDOW_PAGES = 1 << 15  # 128 MiB of a file


def put_files_back(root: SysRoot, entries: Sequence[FileEntry], result: Undone) -> None:
    """pghot maps each file itself: a program that lives may have touched other pages of it than the one that ended.

    Hugetlb pages go back through the programs that map them: where pghot maps them itself, mincore(2) knows nothing of
    theirs (mincore_hugetlb, mm/mincore.c), and to map one that is not there would make it.

    What pghot moved goes back whoever maps it by now. Raises `NotPermittedError` without CAP_SYS_ADMIN or CAP_SYS_NICE.
    """
    mapped = find_mapped(root, [entry.identity for entry in entries])
    file_systems = FileSystems(root)
    for entry in entries:
        places = mapped.get(entry.identity, [])
        if any(_is_hugetlb(file_systems, place) for place in places):
            _put_back_through(places, entry, result)
            continue
        if (fd := _open(root, places, entry.identity)) is None:
            result.files_gone.append(entry.name or "shared memory")
            continue
        try:
            _put_back(fd, entry, result)
        finally:
            os.close(fd)


def _open(root: SysRoot, places: Sequence[Mapped], identity: FileIdentity) -> int | None:
    """The file, open, through the first program that maps it still; None without one."""
    for place in places:
        try:
            fd = open_mapped(root, place.pid, place.start, place.end)
        except PermissionError as error:
            raise refused(place.pid, "open the files that are mapped by", "CAP_SYS_ADMIN") from error
        except OSError:
            continue  # it ended, or maps something else by now
        if _is(root, fd, identity):
            return fd
        os.close(fd)
    return None


def _is(root: SysRoot, fd: int, identity: FileIdentity) -> bool:
    """Whether an open file is this one: its program may have mapped another at the same place since that was asked.

    What stat(2) calls its device may be another than in the list of mappings (btrfs), so ours is looked at.
    """
    with FileWindow(fd, 0, 1) as window:
        if not window.begin:
            return True  # an empty file, of which no page can be moved
        maps = read_maps(root, os.getpid())
        row = int(np.searchsorted(maps.start, np.uint64(window.begin), "right")) - 1
    return (int(maps.device[row]), int(maps.inode[row])) == (identity.device, identity.inode)


def _is_hugetlb(file_systems: FileSystems, place: Mapped) -> bool:
    return bool(file_systems.memory(place.pid, np.array([place.device], np.uint64))[0] == Memory.HUGETLB)


def _put_back_through(places: Sequence[Mapped], entry: FileEntry, result: Undone) -> None:
    """Each page through the first program that has it."""
    left = 0
    ranges = _offsets(places)
    result.pages_gone += pages_outside(entry.lines, ranges)
    for piece in pieces(entry.lines, ranges):
        offset, home = piece.vpn * np.uint64(PAGE_BYTES), piece.node
        for place in places:
            address = offset - np.uint64(place.offset) + np.uint64(place.start)
            inside = (offset >= place.offset) & (address < place.end)
            there = inside.copy()
            there[inside] = _nodes(place.pid, address[inside]) >= 0
            left += _move_home(place.pid, address[there], home[there], result)
            offset, home = offset[~there], home[~there]
        result.pages_gone += len(offset)
    if left:
        result.pages_left[entry.name] = left


def _offsets(places: Sequence[Mapped]) -> list[Range]:
    """Which pages of a file these map, in few ranges with some gaps."""
    begins = np.array([place.offset for place in places], np.uint64)
    ends = begins + np.array([place.end - place.start for place in places], np.uint64)
    order = np.argsort(begins, kind="stable")
    page = np.uint64(PAGE_BYTES)
    return joined_ranges(begins[order] // page, np.maximum.accumulate(ends[order]) // page)


def _nodes(pid: int, address: U64) -> I32:
    try:
        return query_nodes(pid, address)
    except OSError:
        return np.full(len(address), -errno.ESRCH, np.int32)  # it has ended


def _put_back(fd: int, entry: FileEntry, result: Undone) -> None:
    left = 0
    ranges = [(0, -(-os.fstat(fd).st_size // PAGE_BYTES))]
    result.pages_gone += pages_outside(entry.lines, ranges)
    for first, page, home in (
        each for piece in pieces(entry.lines, ranges) for each in _windows(piece.vpn, piece.node)
    ):
        with FileWindow(fd, first, _WINDOW_PAGES) as window:
            at = np.searchsorted(window.resident, page)
            there = np.append(window.resident, -1)[at] == page
            result.pages_gone += int(np.count_nonzero(~there))
            left += _move_home(os.getpid(), window.address[at[there]], home[there], result)
    if left:
        result.pages_left[entry.name or "shared memory"] = left


def _windows(page: U64, node: U8) -> Iterator[tuple[int, I64, U8]]:
    """Ascending pages by parts of the file: its first page, the pages counted from there, and their nodes."""
    window = page // np.uint64(_WINDOW_PAGES)
    for each in np.unique(window).tolist():
        mine = window == each
        first = int(each) * _WINDOW_PAGES
        yield first, page[mine].astype(np.int64) - first, node[mine]


def _move_home(pid: int, address: U64, node: U8, result: Undone) -> int:
    """Move pages of an address space to their nodes; returns how many did not come."""
    before = now = _nodes(pid, address)
    for _ in range(ROUNDS):
        away = np.flatnonzero((now >= 0) & (now != node))
        if len(away) == 0:
            break
        for batch in slowest_first(node[away]):
            _move(pid, address[away[batch]], node[away[batch]].astype(np.int32))
        now = _nodes(pid, address)
    result.pages_back += int(np.count_nonzero((now == node) & (before != node)))
    result.pages_home += int(np.count_nonzero((now == node) & (before == node)))
    result.pages_gone += int(np.count_nonzero(now < 0))
    return int(np.count_nonzero((now >= 0) & (now != node)))


def _move(pid: int, address: U64, node: I32) -> None:
    try:
        move_pages(pid, address, node, everyone=True)
    except PermissionError as error:
        raise refused(pid, "move shared pages through", "CAP_SYS_NICE") from error
    except OSError:
        return  # the next query says what happened
