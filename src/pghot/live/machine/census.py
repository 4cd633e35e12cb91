"""Who maps a file or shared memory beside the tracked programs: a look into the maps of all others.

`/proc/kpagecount` would say it for each page, but not of programs that have not touched it yet, and on kernels without
a count for each page (an option of 6.15) not at all. One pass over all maps answers it for all files at once, and takes
1 % of the time: what came to be mapped since the last pass is not known yet. In a PID namespace of its own (a container
without the host's) pghot does not see everybody, so that it never knows.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator

import numpy as np

from pghot.kernel.maps import read_maps_text
from pghot.kernel.maps_text import parse_maps
from pghot.kernel.namespaces import INITIAL, namespace
from pghot.kernel.process import pids
from pghot.kernel.sysroot import SysRoot

FileKey = tuple[int, int]  # device and inode, as in `Mappings`
# Of each second; the first pass over new files may take more, since nothing of them moves before its end.
_STEADY_S, _FIRST_S = 0.01, 0.1


class Census:
    """`others` are files that somebody maps who is not tracked, `known` those about which that is known by now."""

    def __init__(self, root: SysRoot) -> None:
        self._root, self._sees_all = root, namespace(root, "pid") == INITIAL["pid"]
        self._pass: Iterator[None] | None = None
        self.known: frozenset[FileKey] = frozenset()
        self.others: frozenset[FileKey] = frozenset()

    def tick(self, wanted: frozenset[FileKey], tracked: Collection[int]) -> None:
        """Go on with the pass for a while, once a second. The programs of the pids `tracked` do not count."""
        if not wanted:
            return
        until_s = time.perf_counter() + (_STEADY_S if wanted <= self.known else _FIRST_S)
        if self._pass is None:
            self._pass = self._look(wanted, tracked)
        for _ in self._pass:
            if time.perf_counter() >= until_s:
                return
        self._pass = None

    def _look(self, wanted: frozenset[FileKey], tracked: Collection[int]) -> Iterator[None]:
        others: set[FileKey] = set() if self._sees_all else set(wanted)
        for pid in pids(self._root):
            if pid in tracked:
                continue
            try:
                others |= _files_of(self._root, pid, wanted)
            except PermissionError:
                others |= wanted  # nobody knows
            except OSError:
                continue
            yield
        self.known, self.others = wanted, frozenset(others)


def _files_of(root: SysRoot, pid: int, wanted: frozenset[FileKey]) -> set[FileKey]:
    """Those of the files that a process maps. Raises `OSError`."""
    maps = parse_maps(read_maps_text(root, pid))
    held = np.isin(maps.inode, np.array([inode for _, inode in wanted], np.uint64))
    return set(wanted) & set(zip(maps.device[held].tolist(), maps.inode[held].tolist(), strict=True))
