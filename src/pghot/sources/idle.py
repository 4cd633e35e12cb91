"""The idle page bitmap as a live source: exactly which pages were accessed, by anyone, in each period.

Clear-on-read, so there can be one owner only. The bitmap does not say who else uses it: a bit that somebody else
sets between our looks hides an access from us, and the kernel offers no way to notice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pghot.kernel.needs import Need, require
from pghot.kernel.page_idle import idle_need, mark_idle, still_idle
from pghot.kernel.pagemap import pfns
from pghot.kernel.process import has_capability
from pghot.kernel.spaces import SetKnob, Space, Watched
from pghot.kernel.sysroot import SysRoot
from pghot.sources.live import Sightings, sightings_of

U64 = npt.NDArray[np.uint64]


class Idle:
    """Options: period_ms  time between two looks at one program."""

    name = "idle"
    summary = "idle page bitmap: exactly the pages accessed since the last look; root"
    weight = 1
    sees = "any"

    def __init__(self, root: SysRoot, period_ms: int = 2000) -> None:
        self._root = root
        self._period_ms = period_ms
        self._effort = 1.0
        self._spaces: dict[int, Space] = {}
        self._due_ms: dict[int, float] = {}
        self._marked: dict[int, tuple[U64, U64]] = {}
        self._counts = {"idle_scans": 0, "idle_moved_pages": 0}

    def needs(self) -> list[Need]:
        return [idle_need(self._root), self._frames_need()]

    def _frames_need(self) -> Need:
        what = "page frame numbers in pagemap"
        if has_capability(self._root, "CAP_SYS_ADMIN"):
            return Need(what)
        return Need(
            what, "not permitted", "pagemap hides page frame numbers", "run as root, or add CAP_SYS_ADMIN"
        )

    def start(self, watched: Watched, set_knob: SetKnob) -> None:
        require(self.name, self.needs())
        self.watch(watched)

    def watch(self, watched: Watched) -> None:
        self._spaces = {space.number: space for space in watched.spaces}
        self._due_ms = {number: due for number, due in self._due_ms.items() if number in self._spaces}
        self._marked = {number: held for number, held in self._marked.items() if number in self._spaces}

    def poll(self, now_ms: int) -> Sequence[Sightings]:
        found = []
        for number, space in self._spaces.items():
            if now_ms < self._due_ms.get(number, 0):
                continue
            self._due_ms[number] = now_ms + self._period_ms / self._effort
            try:
                frames = self._frames(space)
                address = self._accessed(number, frames)
                mark_idle(self._root, frames[1])
            except OSError:
                continue  # it ended; the next `watch` says so
            self._marked[number] = frames
            self._counts["idle_scans"] += 1
            if len(address):
                found.append(sightings_of(space.pid, address))
        return found

    def _frames(self, space: Space) -> tuple[U64, U64]:
        parts = [
            pfns(self._root, space.pid, start, end)
            for start, end in zip(space.start.tolist(), space.end.tolist(), strict=True)
        ]
        if not parts:
            return np.empty(0, np.uint64), np.empty(0, np.uint64)
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _accessed(self, number: int, frames: tuple[U64, U64]) -> U64:
        """Addresses whose page was marked idle, is in the same frame still, and is idle no more."""
        if number not in self._marked:
            return np.empty(0, np.uint64)
        address, frame = self._marked[number]
        now = np.searchsorted(frames[0], address)
        now[now == len(frames[0])] = 0
        same = (
            (frames[0][now] == address) & (frames[1][now] == frame)
            if len(frames[0])
            else np.zeros(len(address), np.bool_)
        )
        self._counts["idle_moved_pages"] += int(np.count_nonzero(~same))
        address, frame = address[same], frame[same]
        accessed: U64 = address[~still_idle(self._root, frame)]
        return accessed

    def set_effort(self, share: float) -> None:
        self._effort = share

    def sampling(self) -> str:
        return f"all accesses, one report a page every {self._period_ms / self._effort:.0f} ms"

    def counters(self) -> dict[str, int]:
        return dict(self._counts)

    def stop(self) -> None:
        self._spaces = {}
