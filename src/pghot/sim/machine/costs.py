"""What things cost: every constant of the lab's cost model, with its source, in one place.

A tiers file overrides any of them in its `[costs]` table. "(est.)" marks an estimate from experience.
"FACTS n" means section n of docs/FACTS.md, here and everywhere.
"""

from __future__ import annotations

from pydantic import Field

from pghot.documents import Strict
from pghot.quantities import CostNs, LatencyNs, RateGbS


class Costs(Strict):
    """Costs in nanoseconds unless the name says otherwise."""

    # Migration, one kernel thread: 3.31 GB/s for 4 KiB pages, 11.0 GB/s for 2 MiB folios (FACTS 8).
    migrate_4k_ns: LatencyNs = 1240.0
    migrate_huge_gb_s: RateGbS = 11.0
    # The copy's part of a 4 KiB migration (FACTS 8); the rest is unmapping and remapping, whatever the size.
    migrate_copy_share: float = Field(0.25, ge=0, le=1)
    # The same with a DMA engine that copies the batch, one channel (FACTS 8).
    dma_4k_gb_s: RateGbS = 2.16
    dma_huge_gb_s: RateGbS = 12.65
    # TLB shootdown: the CPU that flushes waits this long (2..10 us by core count, est.) ...
    shootdown_ns: CostNs = 4000.0
    # ... and every running thread of the program takes one interrupt (est.).
    shootdown_ipi_ns: CostNs = 1000.0
    # NUMA hint fault, entry to exit, without the migration (1..1.5 us, est.).
    hint_fault_ns: CostNs = 1200.0
    # Page-table walk that ages the LRU, per PTE (12..53 ns, FACTS 8).
    age_pte_ns: CostNs = 25.0
    # Writing back the 64 cache lines of a page (CLWB), of which few are dirty: about 4 ns for each line (est.).
    flush_4k_ns: CostNs = 250.0
    # Stepping past one record of a hash list of pghot v2 ("long-hash-lists"): a cache miss or a hit (10..100, est.).
    hash_list_step_ns: CostNs = 20.0
    # Compute time of an instruction when no cache misses the last level (est.: IPC 1.3 at 3 GHz).
    instruction_ns: CostNs = 0.25
    # Cache misses that one core keeps in flight: pointer chase 1, independent random ~10 (FACTS 8). 4 is between
    # the two, for programs about which nothing is known (est.).
    mlp_random: float = Field(4.0, ge=1, le=1e5)
    # Sequential misses, which the prefetchers overlap: 20..50 (FACTS 8).
    mlp_sequential: float = Field(20.0, ge=1, le=1e5)
    # Misses of a constant stride: prefetchers follow them too, but only within a page (10..20, est.).
    mlp_strided: float = Field(10.0, ge=1, le=1e5)

    def migrate_ns(self, page_bytes: int, slowdown: float = 1.0) -> float:
        """Kernel time to unmap, copy and remap one page of `page_bytes`.

        slowdown  loaded over idle latency of the memory: a copy keeps a fixed number of lines in flight
        """
        remap_ns, copy_ns = self.migrate_parts_ns(page_bytes)
        return remap_ns + slowdown * copy_ns

    def migrate_parts_ns(self, page_bytes: int) -> tuple[float, float]:
        """The same on idle memory in its two parts: to unmap and remap, and to copy."""
        idle_ns = self.migrate_4k_ns if page_bytes <= 4096 else page_bytes / self.migrate_huge_gb_s
        copy_ns = max(0.0, idle_ns - (1 - self.migrate_copy_share) * self.migrate_4k_ns)
        return idle_ns - copy_ns, copy_ns

    def dma_ns(self, page_bytes: int) -> float:
        """Time to migrate one page on idle memory if a DMA engine copies, unmapping and remapping with it."""
        return page_bytes / (self.dma_4k_gb_s if page_bytes <= 4096 else self.dma_huge_gb_s)
