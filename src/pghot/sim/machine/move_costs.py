"""What it takes to move a page of a machine, by who moves it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pghot.sim.machine.costs import Costs
from pghot.sim.machine.movers import Copying

DIRECT_RECLAIM = "direct reclaim"
HINT_FAULT = "hint fault"
TASK_WORK = "task work"
BY_PROGRAM = ("app", HINT_FAULT, TASK_WORK, DIRECT_RECLAIM)  # payers whose time the program loses


@dataclass(frozen=True, slots=True)
class MoveCosts:
    """Times for a page of `page_bytes`, where real pages of `folio_bytes` are moved: the page's part of them.

    group_pages  K, real pages that one page stands for
    threads      of the program: each takes an interrupt for a flush
    link_gb_s    what goes through the slowest node
    """

    costs: Costs
    page_bytes: int
    folio_bytes: int
    group_pages: float
    threads: int
    link_gb_s: float

    def thread_ns(self, copying: Copying, slowdown: float) -> tuple[float, float]:
        """How long a kernel thread takes, without flushes, and how much CPU time; see `Copying.page_ns`."""
        lasts_ns, cpu_ns = copying.page_ns(self.costs, self.folio_bytes, slowdown, self.link_gb_s)
        return self._part(lasts_ns), self._part(cpu_ns)

    def program_parts_ns(self) -> tuple[float, float]:
        """Time of the program's own threads on idle memory: to unmap and remap, and to copy."""
        remap_ns, copy_ns = self.costs.migrate_parts_ns(self.folio_bytes)
        return self._part(remap_ns), self._part(copy_ns)

    def program_ns(self, payer: str, slowdown: float) -> float:
        """Time of the program's threads, taken together, for a page that one of them moves in a hint fault or as task
        work."""
        flush_ns = self.costs.shootdown_ns + self.costs.shootdown_ipi_ns * self.threads
        return self._part(self.costs.migrate_ns(self.folio_bytes, slowdown) + flush_ns * (payer == TASK_WORK))

    def flushes(self, payer: str, pages: int, batch_pages: int) -> float:
        """TLB flushes for so many pages: of the program's own threads one for each, of others one for each batch."""
        if payer == HINT_FAULT:
            return 0.0
        if payer == TASK_WORK:
            return self._part(float(pages))
        return float(pages) if payer == "app" else self.batches(pages, batch_pages)

    def batches(self, pages: int, batch_pages: int = 512) -> float:
        """TLB flushes for so many pages, a K-th each: the real pages are flushed in batches."""
        return math.ceil(pages * self.group_pages / batch_pages) / self.group_pages

    def _part(self, of_folio: float) -> float:
        return of_folio * self.page_bytes / self.folio_bytes
