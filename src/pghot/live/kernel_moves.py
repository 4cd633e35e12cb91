"""What the kernel moves by itself beside pghot, machine-wide."""

from __future__ import annotations

from pghot.arrays import I64
from pghot.errors import UnsupportedError
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.vmstat import vmstat
from pghot.live.machine.nodes import LiveTopology
from pghot.units import PAGE_BYTES, format_size

GIB_PAGES = (1 << 30) // PAGE_BYTES


class KernelMoves:
    """Counts since it was made."""

    def __init__(self, root: SysRoot) -> None:
        self._root = root
        self._promoted = vmstat(root, "pgpromote_success")
        self._migrated = vmstat(root, "numa_pages_migrated")

    def promoted_pages(self) -> int:
        """Pages that NUMA balancing promoted (pgpromote_success)."""
        return vmstat(self._root, "pgpromote_success") - self._promoted

    def balanced_pages(self) -> int:
        """Pages that NUMA balancing moved between nodes without promoting them."""
        return vmstat(self._root, "numa_pages_migrated") - self._migrated - self.promoted_pages()


def refuse_kernel_promotion(topology: LiveTopology, free_pages: I64) -> None:
    """Raise `UnsupportedError` where the kernel would promote by itself, for a dry run must not move anything.

    With hint faults it promotes into a node with much free memory: more than max(1 GiB, node/16) above the promotion
    watermark (pgdat_free_space_enough, kernel/sched/fair.c, Linux 6.12).
    """
    for node in topology.top_nodes:
        enough = max(GIB_PAGES, topology.capacity_pages[node] // 16)
        if topology.lower and free_pages[node] > topology.promo_pages[node] + enough:
            free = format_size(int(free_pages[node]) * PAGE_BYTES)
            raise UnsupportedError(
                f"a dry run cannot use hint faults: with {free} free on node {node} the kernel promotes by itself",
                "use --apply, or another --source",
            )
