"""The idle page bitmap as a live source: exactly which pages were accessed, by anyone, in each period.

The bitmap can have one user only. The user clears what it reads, so of two users only one sees an access. The bitmap
names no user, but an active one can be noticed. Before it marks any page, the source looks at the bits twice, a period
apart. If a page turned idle in between, another user marked it, and the source refuses to go on. DAMON marks pages the
same way (damon_folio_mkold) and is noticed in the same way. A user that starts after pghot is not noticed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pghot.arrays import U64, Bool
from pghot.engine.accesses import Mechanism, Sees
from pghot.errors import UnsupportedError
from pghot.kernel.kpageflags import KPAGEFLAGS
from pghot.kernel.needs import Need
from pghot.kernel.page_idle import idle_need, mark_idle, still_idle, tracked_frames
from pghot.kernel.pagemap import pfns
from pghot.kernel.process import has_capability
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import Space
from pghot.live.sources.periodic import PeriodicSource


@dataclass(frozen=True, slots=True)
class _Look:
    """The tracked pages of one program at one moment.

    address  uint64[K]  ascending
    frame    uint64[K]  the page frame that held the page
    idle     bool[K]    the frame's bit at that moment
    marked   whether all these pages were marked idle afterwards
    """

    address: U64
    frame: U64
    idle: Bool
    marked: bool


class Idle(PeriodicSource):
    """Options: period_ms  time between two looks at one program."""

    name = "idle"
    summary = "idle page bitmap: exactly the pages accessed since the last look; root"
    mechanism: Mechanism = "page-table scan"
    inline = False
    released = True
    weight = 1
    sees: Sees = "any"
    only_reads = False
    SCANS = "idle_scans"

    def __init__(self, root: SysRoot, period_ms: int = 2000) -> None:
        super().__init__(root, period_ms, ("idle_moved_pages", "idle_untracked_pages"))
        self._looks: dict[int, _Look] = {}
        self._alone = False

    def needs(self) -> list[Need]:
        return [idle_need(self._root), self._frames_need()]

    def _frames_need(self) -> Need:
        what = "page frame numbers in pagemap, and their flags"
        if not self._root.exists(KPAGEFLAGS):
            return Need(what, "unsupported", f"no {KPAGEFLAGS}", "a kernel with CONFIG_PROC_PAGE_MONITOR=y")
        if has_capability(self._root, "CAP_SYS_ADMIN"):
            return Need(what)
        return Need(
            what, "not permitted", "pagemap hides page frame numbers", "run as root, or add CAP_SYS_ADMIN"
        )

    def look(self, space: Space) -> U64:
        """See `PeriodicSource.look`. Raises `UnsupportedError` when another user marks pages."""
        look = self._look(space)
        accessed = self._compare(self._looks.get(space.number), look)
        look = replace(look, marked=self._alone)
        if look.marked:
            mark_idle(self._root, np.unique(look.frame))
        self._looks[space.number] = look
        return accessed

    def forget(self, number: int) -> None:
        self._looks.pop(number, None)

    def _look(self, space: Space) -> _Look:
        address, frame = pfns(self._root, space.pid, space.start, space.end)
        frame, tracked = tracked_frames(self._root, frame)
        self._counts["idle_untracked_pages"] += int(np.count_nonzero(~tracked))
        address, frame = address[tracked], frame[tracked]
        return _Look(address, frame, still_idle(self._root, frame), marked=False)

    def _compare(self, before: _Look | None, now: _Look) -> U64:
        """Addresses of the pages that are still in the frame that was marked, and were accessed since."""
        if before is None:
            return np.empty(0, np.uint64)
        at, same = same_pages(before, now)
        if not before.marked:
            self._refuse_company(int(np.count_nonzero(now.idle[at[same]] & ~before.idle[same])))
            return np.empty(0, np.uint64)
        self._counts["idle_moved_pages"] += int(np.count_nonzero(~same))
        accessed: U64 = before.address[same][~now.idle[at[same]]]
        return accessed

    def _refuse_company(self, marked_pages: int) -> None:
        if marked_pages:
            raise UnsupportedError(
                f"idle: something else uses the idle page bitmap ({marked_pages} pages were marked)",
                "stop the other user of the bitmap (or DAMON) first: pghot cannot see the accesses that it clears",
            )
        self._alone = True

    def sampling(self) -> str:
        return f"all accesses, one report a page every {self.period_ms:.0f} ms"


def same_pages(before: _Look, now: _Look) -> tuple[npt.NDArray[np.int64], Bool]:
    """For each page of `before`: its index in `now`, and whether it is there and in the same frame."""
    at = np.searchsorted(now.address, before.address)
    at[at == len(now.address)] = 0
    if len(now.address) == 0:
        return at, np.zeros(len(at), np.bool_)
    return at, (now.address[at] == before.address) & (now.frame[at] == before.frame)
