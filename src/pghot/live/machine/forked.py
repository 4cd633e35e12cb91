"""Anonymous pages that several programs map after a fork, until one of them writes: known by their page frames."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pghot.arrays import U64, Bool
from pghot.kernel.kpagecount import map_counts
from pghot.kernel.pagemap import frames_of
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import Space


def sharers(
    root: SysRoot, space: Space, address: U64, others: Iterable[Space]
) -> tuple[Bool, dict[int, Bool]]:
    """Which pages only these spaces map: bool[K]; and which of them each of the others has, bool[K] by its number.

    address  uint64[K] bytes, ascending: a fork keeps it. What another maps elsewhere is taken for a stranger's

    None where frames or how often they are mapped cannot be read (CAP_SYS_ADMIN).
    """
    try:
        frame = frames_of(root, space.pid, address)
        missing = map_counts(root, frame).astype(np.int64) - 1
    except OSError:
        return np.zeros(len(address), np.bool_), {}
    having: dict[int, Bool] = {}
    for other in others:
        if not (missing > 0).any():
            break
        try:
            same = (frames_of(root, other.pid, address) == frame) & (frame != 0)
        except OSError:
            continue  # it ended
        if same.any():
            having[other.number] = same
            missing -= same
    return (frame != 0) & (missing == 0), having
