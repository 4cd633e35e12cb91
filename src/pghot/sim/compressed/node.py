"""A compressed node of a simulated machine: what it stores, what it admits, and which writes it allows (docs/FACTS.md
6).

The node is private: pages arrive only by demotion, and demotion asks the control plane first. Until a page has settled,
it is charged the most that it can take. So the reserve is only for what the CPU's cache holds
(docs/compressed-tier.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U8, U32, Bool
from pghot.rules import AccessRule
from pghot.sim.compressed.admission import (
    PEAK,
    USED,
    WARNED,
    admit_pages,
    grant_pages,
    release_pages,
    write_pages,
)
from pghot.sim.compressed.device import CompressedDevice
from pghot.sim.machine.touch import note_writes

DEMOTION_BATCH_PAGES = 512


@dataclass(frozen=True, slots=True)
class Contents:
    """How well the program's pages compress.

    stored     uint32[pages]  bytes that each page takes when it is demoted for the first time
    rewritten  uint32[pages]  bytes that it takes after it has been written
    tenant     uint16[pages]  its owner: the address space
    note       where the sizes come from
    warning    what a reader must know about them; empty: nothing
    """

    stored: U32
    rewritten: U32
    tenant: npt.NDArray[np.uint16]
    note: str = ""
    warning: str = ""


@dataclass(slots=True)
class TierCounts:
    """Totals in pages.

    refused      demotions that the control plane refused; the page stayed where it was
    write_faults writes to pages that were mapped read-only
    granted      those of them that the margin check let through
    drained      pages promoted because the device had warned
    lost         pages whose data the device could not store
    peak_bytes   the most bytes that were ever stored
    killed       tenants killed because they overran a budget, or because no memory could hold what they wrote
    """

    refused: int = 0
    write_faults: int = 0
    granted: int = 0
    drained: int = 0
    lost: int = 0
    peak_bytes: int = 0
    killed: int = 0


class CompressedNode:
    """The stored bytes of every page on the device, exactly, and the promises made against what is free.

    stored     int64[pages]  bytes of the medium that each page takes, 0 if it is elsewhere
    used       the sum of `stored`
    used_by    int64[T]      the same sum for each tenant
    granted    bool[pages]   mapped writable after a margin check, and charged with its whole growth
    warned     the device has warned and not taken it back: demotion waits, unless a program waits for it
    failed     data was lost, and from then on the device refuses all that grows (fail-safe)
    """

    def __init__(
        self,
        device: CompressedDevice,
        rule: AccessRule,
        *,
        real_bytes: int,
        reserve_bytes: int,
        contents: Contents,
        page_bytes: int,
        group_pages: float,
    ) -> None:
        self.device, self.rule = device, rule
        self.real_bytes, self.reserve_bytes, self.page_bytes = real_bytes, reserve_bytes, page_bytes
        self.counts = TierCounts()
        # The host sets the thresholds so that the warning comes at the latest when the reserve is touched.
        self._warn_above = min(int((1 - device.low_share) * real_bytes), real_bytes - reserve_bytes)
        spread = int((device.high_share - device.low_share) * real_bytes)
        self._calm_below = max(1, self._warn_above - spread)  # an empty device never warns
        self._limits = np.array([0, self._warn_above, self._calm_below])
        self._state = np.zeros(3, np.int64)
        self.used = self.pages = 0
        self.granted_growth = 0
        self.warned = self.failed = False
        pages = len(contents.stored)
        self.stored = np.zeros(pages, np.int64)
        self.granted = np.zeros(pages, np.bool_)
        self._size = self._rounded(contents.stored)
        self._rewritten = self._rounded(contents.rewritten)
        self._lost = np.zeros(pages, np.bool_)
        self._tenant = contents.tenant.astype(np.int64)
        self._batch = math.ceil(DEMOTION_BATCH_PAGES / group_pages)
        shares = np.bincount(self._tenant) / pages
        self.budget: I64 = (shares * (real_bytes - reserve_bytes)).astype(np.int64)
        self._no_budgets = np.full(len(shares), np.iinfo(np.int64).max // 2)
        self.used_by = np.zeros(len(shares), np.int64)

    def _rounded(self, size: U32) -> I64:
        granule = self.device.granule
        rounded: I64 = np.minimum(-(-size.astype(np.int64) // granule) * granule, self.page_bytes)
        return rounded if self.device.zero_flag else np.maximum(rounded, granule)

    # ---- the control plane

    @property
    def remaining(self) -> int:
        """Bytes of the medium that are free."""
        return self.real_bytes - self.used

    @property
    def saved_bytes(self) -> int:
        """Bytes that the pages on the device would take in plain memory, less what they take there."""
        return self.pages * self.page_bytes - self.used

    @property
    def admissible(self) -> int:
        """How many pages may arrive now, each at its worst."""
        if self.warned or self.failed:
            return 0
        free = self.remaining - self.granted_growth - self.reserve_bytes
        return max(0, free // self.page_bytes)

    def admit(self, page: U32, last_resort: bool = False) -> U32:
        """Take in pages, batch by batch, as far as there is room; returns those that were admitted.

        last_resort  a program waits for this demotion and would be killed otherwise. In spite of a warning, all pages
                     are then admitted that leave the reserve free, unless the rule forbids it
                     (`AccessRule.refuses_last_resort`)
        """
        heeds_warning = not last_resort or self.rule.refuses_last_resort
        came = np.zeros(len(page), np.bool_)
        if not self.failed:
            limits, state = self._limits, self._state
            limits[0] = self.real_bytes - self.granted_growth - self.reserve_bytes
            state[USED], state[WARNED], state[PEAK] = self.used, self.warned, self.counts.peak_bytes
            budget = self.budget if self.rule.budgets else self._no_budgets
            admit_pages(
                page,
                size=self._size,
                stored=self.stored,
                tenant=self._tenant,
                budget=budget,
                used_by=self.used_by,
                limits=limits,
                page_bytes=self.page_bytes,
                batch=self._batch,
                heeds_warning=heeds_warning,
                state=state,
                came=came,
            )
            self.used, self.warned = int(state[USED]), bool(state[WARNED])
            self.counts.peak_bytes = int(state[PEAK])
        admitted = page[came]
        self.pages += len(admitted)
        self.counts.refused += len(page) - len(admitted)
        return admitted

    def release(self, page: U32) -> None:
        """Pages have left: the host zeroes them, and the device gets their bytes back."""
        freed, charged = release_pages(
            page, self.page_bytes, self.stored, self.granted, self._tenant, self.used_by
        )
        self.granted_growth -= charged
        self.pages -= len(page)
        self._changed(-freed)

    def _changed(self, growth: int) -> None:
        """The device stores `growth` more bytes: update its peak and its warning."""
        self.used += growth
        self.counts.peak_bytes = max(self.counts.peak_bytes, self.used)
        if self.used > self._warn_above:
            self.warned = True
        elif self.used < self._calm_below:
            self.warned = False

    # ---- writes

    def grant(self, page: U32) -> U32:
        """The margin check: pages become writable in order, while their whole growth can still be absorbed."""
        free = self.remaining - self.granted_growth - self.reserve_bytes
        let, growth = grant_pages(page, self.page_bytes, free, self.stored, self.granted)
        self.granted_growth += growth
        self.counts.granted += let
        return page[:let]

    def revoke(self, page: U32) -> None:
        """Granted pages are read-only again, and flushed."""
        self.granted[page] = False
        self.granted_growth -= int((self.page_bytes - self.stored[page]).sum())

    def rewritten(self, page: U32) -> None:
        """These pages, wherever they are, hold new contents: set the size that they take when they are next demoted."""
        self._size[page] = self._rewritten[page]

    def note_writes(self, page: U32, writes: U32, first: Bool, place: U8, node: int) -> U32:
        """As `rewritten`, for the rows of a slice. `first` contents change no size. Returns those on `node`."""
        out = np.empty_like(page)
        return out[: note_writes(page, writes, first, self._rewritten, self._size, place, node, out)]

    def write(self, page: U32) -> list[int]:
        """Lines of these pages were written and written back; each page is given once. What no longer fits is lost.

        Returns the tenants that would take more than their budget, if the rule gives them one. Nothing that they wrote
        is stored.
        """
        over: list[int] = []
        if self.rule.budgets:
            over = self._overrun(page, self._rewritten[page] - self.stored[page])
            rest = np.isin(self._tenant[page], over)
            self.rewritten(page[rest])
            page = page[~rest]
        grown, charged, lost = write_pages(
            page,
            rewritten=self._rewritten,
            size=self._size,
            stored=self.stored,
            granted=self.granted,
            lost=self._lost,
            tenant=self._tenant,
            used_by=self.used_by,
            real_bytes=self.real_bytes,
            used=self.used,
            failed=self.failed,
        )
        if lost:
            self.failed = True
            self.counts.lost = int(np.count_nonzero(self._lost))
        self.granted_growth -= charged
        self._changed(grown)
        return over

    def _overrun(self, page: U32, growth: I64) -> list[int]:
        """The tenants that would exceed their budget at any point while these pages grow, one after the other."""
        owner = self._tenant[page]
        return [
            tenant
            for tenant in np.unique(owner).tolist()
            if self.used_by[tenant] + np.cumsum(growth[owner == tenant]).max() > self.budget[tenant]
        ]

    def tenant_with_most(self, page: U32) -> int:
        """The tenant that owns most of these pages."""
        return int(np.argmax(np.bincount(self._tenant[page])))

    def pages_of(self, tenant: int) -> U32:
        """All pages of a tenant, wherever they are."""
        return np.flatnonzero(self._tenant == tenant).astype(np.uint32)
