"""Files of a journal among those that programs map now."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from pghot.kernel.maps import read_maps_text
from pghot.kernel.maps_text import parse_maps
from pghot.kernel.process import pids
from pghot.kernel.statx import born_ns
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import FileIdentity


@dataclass(frozen=True, slots=True)
class Mapped:
    """A process that maps a file, and where: [start, end), from `offset` on. On the file system `device`."""

    pid: int
    start: int
    end: int
    offset: int
    device: int


def find_mapped(root: SysRoot, files: Collection[FileIdentity]) -> dict[FileIdentity, list[Mapped]]:
    """Where programs still map each file. Another file with its inode does not count."""
    *_, found = [{}, *finding_mapped(root, files)]
    return found


def finding_mapped(
    root: SysRoot, files: Collection[FileIdentity]
) -> Iterator[dict[FileIdentity, list[Mapped]]]:
    """As `find_mapped`: what is found so far, after each process."""
    found: dict[FileIdentity, list[Mapped]] = {}
    by_place: dict[tuple[int, int], list[FileIdentity]] = {}
    for file in files:
        by_place.setdefault((file.device, file.inode), []).append(file)
    inodes = np.array([file.inode for file in files], np.uint64)
    for pid in pids(root) if files else ():
        try:
            maps = parse_maps(read_maps_text(root, pid))
        except OSError:
            continue  # it ended, or is not this user's
        for i in np.flatnonzero(np.isin(maps.inode, inodes)).tolist():
            where = (int(column[i]) for column in (maps.start, maps.end, maps.offset, maps.device))
            mapped = Mapped(pid, *where)
            born = born_ns(root, pid, mapped.start, mapped.end)
            now = FileIdentity(int(maps.device[i]), int(maps.inode[i]), born)
            for file in by_place.get((now.device, now.inode), ()):
                if file.may_be(now):
                    found.setdefault(file, []).append(mapped)
        yield found
