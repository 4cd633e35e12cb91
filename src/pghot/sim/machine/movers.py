"""Who moves the pages that a policy has chosen: process context, kernel threads, copy threads, or a DMA engine.

The question is that of the discussion of pghot: should the thread that faults pay for the copy, a kernel thread of each
node, several threads that copy a batch together ("mtcopy", LKML, March 2025), or an engine that copies the batch while
no CPU does (Garg, "Accelerate page migration with batch copying and hardware offload", LKML, May 2026)?
"""

from __future__ import annotations

from dataclasses import dataclass

from pghot.errors import UsageError, unknown_name
from pghot.sim.machine.costs import Costs

POLICYS_OWN, FAULT, KTHREAD, COPY_THREADS, DMA = "policy", "fault", "kthread", "copy-threads", "dma"
NAMES = (POLICYS_OWN, FAULT, KTHREAD, f"{COPY_THREADS}:N", DMA)
MOST_COPIERS = 64
_BATCHES = "a kernel thread for each node moves batches"


@dataclass(frozen=True, slots=True)
class Copying:
    """How a thread that migrates has the contents of a batch copied.

    copiers  so many CPUs share the copy; whoever unmaps and remaps is one of them
    dma      an engine copies, and the thread sleeps meanwhile
    """

    copiers: int = 1
    dma: bool = False

    def page_ns(
        self, costs: Costs, page_bytes: int, slowdown: float, link_gb_s: float
    ) -> tuple[float, float]:
        """How long one page takes, and how much CPU time of all CPUs together.

        slowdown   loaded over idle latency of the memory: whoever copies keeps a fixed number of lines in flight
        link_gb_s  of the slowest node: several copiers and an engine get no more than that through it

        >>> Copying().page_ns(Costs(), 4096, 1.0, 26.0)
        (1240.0, 1240.0)
        """
        remap_ns, copy_ns = costs.migrate_parts_ns(page_bytes)
        if self.dma:
            engine_ns = max(costs.dma_ns(page_bytes) - remap_ns, page_bytes / link_gb_s)
            return remap_ns + slowdown * engine_ns, remap_ns
        alone_ns = remap_ns + slowdown * copy_ns
        if self.copiers == 1:
            return alone_ns, alone_ns
        return remap_ns + slowdown * max(copy_ns / self.copiers, page_bytes / link_gb_s), alone_ns


ONE_THREAD = Copying()


@dataclass(frozen=True, slots=True)
class Mover:
    """Who moves pages, by its name in `--movers`.

    copying  how its threads copy; None: the program's own threads move the pages, in process context
    summary  who that is, for the notes below a table
    """

    name: str
    copying: Copying | None
    summary: str


def mover_named(name: str) -> Mover | None:
    """The mover with this name; None: the policy's own. Raises `UsageError` for one that does not exist.

    >>> mover_named("copy-threads:4").summary
    'a kernel thread for each node moves batches, which 4 threads copy'
    """
    if name == POLICYS_OWN:
        return None
    if name == FAULT:
        return Mover(name, None, "the program's own threads move the pages")
    if name == KTHREAD:
        return Mover(name, ONE_THREAD, f"{_BATCHES} and copies them")
    if name == DMA:
        return Mover(name, Copying(dma=True), f"{_BATCHES}, which a DMA engine copies")
    kind, _, count = name.partition(":")
    if kind == COPY_THREADS:
        copiers = _copiers(name, count)
        return Mover(name, Copying(copiers), f"{_BATCHES}, which {copiers} threads copy")
    raise unknown_name("mover", name, list(NAMES))


def _copiers(name: str, count: str) -> int:
    if not (count.isascii() and count.isdecimal() and len(count) <= 3 and 2 <= int(count) <= MOST_COPIERS):
        raise UsageError(
            f"--movers {name} does not say how many threads copy",
            f"give 2 to {MOST_COPIERS}, as {COPY_THREADS}:4; one thread that copies is {KTHREAD}",
        )
    return int(count)
