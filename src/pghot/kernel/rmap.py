"""From page frames back to the programs that map them, using `/proc/PID/pagemap`.

For devices and CPUs that report only physical addresses. The kernel has such a map (mm/rmap.c), but does not show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pghot.arrays import I32, I64, U64
from pghot.kernel.needs import Need
from pghot.kernel.pagemap import pfns
from pghot.kernel.process import has_capability
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import Space

_NO_U64 = np.empty(0, np.uint64)
_NO_I32 = np.empty(0, np.int32)


class ReverseMap:
    """The present pages of some address spaces, sorted by frame: 20 bytes a page.

    It is a snapshot: a page that has moved since is not found, and a frame that holds another page by now is taken for
    the old page. For a frame that several spaces map, one of them is found.
    """

    def __init__(self) -> None:
        self._frame: U64 = _NO_U64
        self._address: U64 = _NO_U64
        self._pid: I32 = _NO_I32

    def __len__(self) -> int:
        return len(self._frame)

    @property
    def bytes_total(self) -> int:
        return self._frame.nbytes + self._address.nbytes + self._pid.nbytes

    def build(
        self, root: SysRoot, spaces: Iterable[Space], ranges: Sequence[tuple[int, int]] | None = None
    ) -> None:
        """Read the page maps anew. A process that ended in the meantime has no pages.

        ranges  frames [first, end) to keep; None: all
        """
        frames, addresses, pids = [_NO_U64], [_NO_U64], [_NO_I32]
        for space in spaces:
            try:
                address, frame = pfns(root, space.pid, space.start, space.end)
            except OSError:
                continue
            kept = _wanted(frame, ranges)
            frames.append(frame[kept])
            addresses.append(address[kept])
            pids.append(np.full(len(kept), space.pid, np.int32))
        frame = np.concatenate(frames)
        order = np.argsort(frame, kind="stable")
        self._frame = frame[order]
        self._address = np.concatenate(addresses)[order]
        self._pid = np.concatenate(pids)[order]

    def find(self, frame: U64) -> tuple[I32, U64, I64]:
        """Who maps some frames: (pid int32[M], address uint64[M] in bytes, index int64[M] into `frame`).

        Frames that no space maps are left out.
        """
        if len(self._frame) == 0:
            return _NO_I32, _NO_U64, np.empty(0, np.int64)
        at = np.minimum(np.searchsorted(self._frame, frame), len(self._frame) - 1)
        index = np.flatnonzero(self._frame[at] == frame)
        return self._pid[at[index]], self._address[at[index]], index


def _wanted(frame: U64, ranges: Sequence[tuple[int, int]] | None) -> I64:
    """Indices of the frames in the ranges. Frame 0 means that the kernel hid the number."""
    if ranges is None:
        return np.flatnonzero(frame)
    inside = np.zeros(len(frame), np.bool_)
    for first, end in ranges:
        inside |= (frame >= np.uint64(first)) & (frame < np.uint64(end))
    return np.flatnonzero(inside & (frame != 0))


def frames_need(root: SysRoot) -> Need:
    """Whether pagemap shows this user frame numbers (Linux >= 4.0 hides them)."""
    what = "page frame numbers in /proc/PID/pagemap"
    if has_capability(root, "CAP_SYS_ADMIN"):
        return Need(what)
    return Need(what, "not permitted", "CAP_SYS_ADMIN is missing: pagemap hides page frames", "run as root")
