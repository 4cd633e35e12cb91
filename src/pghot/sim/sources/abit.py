"""Page-table accessed bits, read and cleared by a kernel thread (klruscand of pghot), simulated.

Once in each period the thread walks the page tables of all touched lower-tier memory. If the last walk took longer, the
next one starts when it is done. A walk reports the pages whose A-bit was set since the last one. It cannot tell who
accessed them, nor how often. Constants: FACTS sections 4 and 8.

In user space the idle page bitmap gives the same (live/sources/idle.py), for pages of every tier and at a higher price.

Simplifications: a walk takes place in one instant, at the end of the slice in which it falls due. A slice longer than
the period gets one walk. Bits are cleared without a TLB flush, yet no access is missed.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from pghot.arrays import NOWHERE
from pghot.engine.accesses import Accesses, Mechanism, Sees, no_accesses
from pghot.jit import njit
from pghot.parameters import MOST_NS, check_number
from pghot.sim.sources.simulated_source import Report, SliceView, SourceSettings
from pghot.ties import from_first

# One page of a look of live/sources/idle.py: 36 ns to read pagemap, 500 kpageflags, 250 to find its bits twice, all
# measured on the project's machine, and 200 for the kernel's two walks of the reverse map (est.).
IDLE_LOOK_NS = 986.0


@njit(cache=True)
def set_abits(
    page: npt.NDArray[np.uint32],
    touches: npt.NDArray[np.uint32],
    place: npt.NDArray[np.uint8],
    lower: npt.NDArray[np.bool_],
    abit: npt.NDArray[np.uint8],
) -> None:
    """Set the A-bits (uint8[pages], in place) of the touched lower-tier pages.

    Touches of top-tier pages set none: by the time reclaim demotes such a page, it has found the bit clear.
    """
    for row in range(len(page)):
        p = page[row]
        node = place[p]
        if touches[row] > 0 and node != NOWHERE and lower[node]:
            abit[p] = 1


@njit(cache=True)
def harvest_abits(
    abit: npt.NDArray[np.uint8],
    place: npt.NDArray[np.uint8],
    lower: npt.NDArray[np.bool_],
    out_page: npt.NDArray[np.uint32],
) -> tuple[int, int]:
    """Walk all lower-tier pages, report and clear their A-bits. Returns (pages walked, pages reported)."""
    walked = 0
    found = 0
    for p in range(len(place)):
        node = place[p]
        if node == NOWHERE or not lower[node]:
            continue
        walked += 1
        if abit[p]:
            abit[p] = 0
            out_page[found] = p
            found += 1
    return walked, found


class AbitScan:
    """The A-bit source of the lab.

    period_ms  kernel ms between walks (klruscand: 2000)
    walk_ns    kernel-thread time for one page walked (FACTS 8: 12..53 ns by machine; this is in the middle)
    every_tier  whether pages of the top tier are looked at too
    set_ns     application time for each cleared bit: the CPU's page walker sets it again with a locked write (est.)
    """

    name = "abit"
    summary = "page-table accessed bits, walked every 2 s; touched or not, paid by a kernel thread"
    mechanism: Mechanism = "page-table scan"
    live = "idle"
    live_options: ClassVar[dict[str, Any]] = {"walk_ns": IDLE_LOOK_NS, "every_tier": True}
    inline = False
    released = True
    sees: Sees = "lower"
    clairvoyant = False

    def __init__(
        self,
        settings: SourceSettings,
        *,
        period_ms: float = 2000.0,
        walk_ns: float = 25.0,
        set_ns: float = 200.0,
        every_tier: bool = False,
    ) -> None:
        check_number(self.name, "period_ms", period_ms, 1)
        check_number(self.name, "walk_ns", walk_ns, 0, MOST_NS)
        check_number(self.name, "set_ns", set_ns, 0, MOST_NS)
        self._period_ms, self._walk_ns, self._set_ns = period_ms, walk_ns, set_ns
        self._group_pages, self._every_tier = settings.group_pages, every_tier
        self.sees = "any" if every_tier else "lower"
        self._abit = np.zeros(settings.pages, np.uint8)
        self._first_page = settings.first_page
        self._next_ms = -1.0
        self._walked = 0
        self._reported = 0

    def observe(self, view: SliceView) -> Report:
        if self._next_ms < 0:
            self._next_ms = view.now_ms - view.dt_ns * 1e-6 * self._group_pages + self._period_ms
        looked_at = np.ones_like(view.lower) if self._every_tier else view.lower
        set_abits(view.page, view.touches, view.place, looked_at, self._abit)
        if view.busy or view.now_ms < self._next_ms:
            return Report(no_accesses(int(view.now_ms)))
        periods = int((view.now_ms - self._next_ms) // self._period_ms) + 1
        self._next_ms += periods * self._period_ms
        out = np.empty(len(view.place), np.uint32)
        walked, found = harvest_abits(self._abit, view.place, looked_at, out)
        self._walked += walked
        self._reported += found
        page = from_first(out[:found].copy(), self._first_page)
        seen = Accesses(page, np.full(found, -1, np.int16), np.ones(found, np.uint32), int(view.now_ms))
        return Report(seen, app_ns=found * self._set_ns, kernel_ns=walked * self._walk_ns)

    def sampling(self) -> str:
        return f"one bit for a page, read every {self._period_ms:.0f} kernel ms"

    def counters(self) -> dict[str, int]:
        return {"pgtscan_walked": self._walked, "pgtscan_accessed": self._reported}

    def tracker_bytes(self) -> int:
        """0: the bits are in the page tables."""
        return 0
