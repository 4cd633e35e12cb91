"""Pages that DAMON of physical memory moves though pghot itself never does: their origins, for the journal."""

from __future__ import annotations

import numpy as np

from pghot.arrays import U64
from pghot.kernel.maps import MappingKind
from pghot.kernel.maps_text import read_maps
from pghot.kernel.move_pages import query_nodes
from pghot.kernel.pagemap import anonymous
from pghot.kernel.process import Identity
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import Space
from pghot.live.machine.mover import Origins
from pghot.live.machine.spaces import Spaces


class OtherPages:
    """Anonymous pages outside the movable ranges of the tracked spaces: copies of file pages, and memory under a strict
    policy of its owner."""

    def __init__(self, root: SysRoot, spaces: Spaces, journal: Origins | None) -> None:
        self._root, self._spaces, self._journal = root, spaces, journal
        self._known: dict[Identity, U64] = {}

    def write(self) -> None:
        """Tell the journal the origins of those pages that it does not know yet."""
        if self._journal is None:
            return
        for space in self._spaces.spaces:
            try:
                address = _other_pages(self._root, space)
                node = query_nodes(space.pid, address)
            except OSError:
                continue  # it ended
            known = self._known.get(space.identity, np.empty(0, np.uint64))
            fresh = (node >= 0) & ~np.isin(address, known)
            if fresh.any():
                self._journal.origins(space, address[fresh], node[fresh].astype(np.uint8))
                self._known[space.identity] = np.union1d(known, address[fresh])
        tracked = {space.identity for space in self._spaces.spaces}
        self._known = {who: address for who, address in self._known.items() if who in tracked}


def _other_pages(root: SysRoot, space: Space) -> U64:
    """Addresses of the private anonymous pages outside the movable ranges of a space."""
    maps = read_maps(root, space.pid)
    at = np.searchsorted(space.start, maps.start, side="right")
    # A range before all others, which ends where it starts, stands for none.
    inside = maps.start < np.append(np.uint64(0), space.end)[at]
    other = np.isin(maps.kind, (MappingKind.FILE, MappingKind.MOVABLE)) & ~inside
    return anonymous(root, space.pid, maps.start[other], maps.end[other])
