"""Sightings where nothing was mapped when a program's maps were read last: what is there by now.

So a program with very many mappings need not have all of them read each second.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import U64
from pghot.kernel.maps import Mappings
from pghot.kernel.maps_text import parse_maps
from pghot.kernel.procmap_query import mappings_at
from pghot.kernel.sysroot import SysRoot

MOST = 4096  # kept of a program from one refresh to the next; each is counted as a sighting that was left out
# A question takes what reading this many mappings takes, and somewhat more.
MAPPINGS_A_QUESTION = 8


class Strays:
    """Where they were, by the number of the space."""

    def __init__(self) -> None:
        self._of: dict[int, U64] = {}

    def note(self, number: int, address: U64) -> None:
        """Sightings in a space (uint64[K] bytes)."""
        self._of[number] = np.unique(np.append(self._of.get(number, address[:0]), address))[:MOST]

    def take(self, number: int) -> U64:
        """Those in a space since the last call: uint64[K] bytes, ascending, each once."""
        return self._of.pop(number, np.empty(0, np.uint64))


def mapped_since(root: SysRoot, pid: int, known: Mappings, address: U64) -> tuple[bytes, Mappings] | None:
    """The lines of mappings at these addresses that are not known, and all mappings with them.

    None: read all of them, as the kernel cannot tell, or has changed more, or that is cheaper. Raises `OSError`: gone,
    or not this user's.
    """
    before = np.searchsorted(known.start, address, side="right") - 1
    inside = (before >= 0) & (address < known.end[before]) if len(known) else np.zeros(len(address), np.bool_)
    most = 1 + len(known) // MAPPINGS_A_QUESTION
    if (lines := mappings_at(root, pid, address[~inside], most)) is None:
        return None
    added = known.with_added(parse_maps(lines))
    return None if added is None else (lines, added)
