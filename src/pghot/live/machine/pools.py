"""What is free in the pools of hugetlb pages. No free floor: a pool holds nothing for others."""

from __future__ import annotations

import numpy as np

from pghot.kernel.hugetlb import free_huge_pages
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.placement import HUGE_PAGES


class Pools:
    """As `Room`, in pages of 4 KiB.

    refused  pages for which room was wanted on a node whose pool had none, counted each time
    full     these nodes
    """

    def __init__(self, root: SysRoot, nodes: int) -> None:
        self._root = root
        self._would_use = np.zeros(nodes, np.int64)
        self.refused = 0
        self.full: set[int] = set()

    def on(self, node: int) -> int:
        """Pages that can be put on `node`, as of now."""
        return max(0, HUGE_PAGES * free_huge_pages(self._root, node) - int(self._would_use[node]))

    def look(self, node: int) -> tuple[int, int]:
        """See `Room.look`. Others take from a pool seldom, but it may be small: it is looked at for each batch."""
        return self.on(node), 1

    def filled(self, node: int) -> None:
        """See `Room.filled`."""

    def pretend(self, node: int, pages: int) -> None:
        """A dry run would have put so many pages there."""
        self._would_use[node] += pages

    def refuse(self, node: int, folios: int) -> None:
        """So many huge pages found no room on `node`."""
        if folios:
            self.refused += HUGE_PAGES * folios
            self.full.add(node)

    def full_now(self) -> list[int]:
        """The nodes where room was wanted and is none now."""
        return [node for node in sorted(self.full) if not self.on(node)]
