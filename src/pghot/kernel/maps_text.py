"""The text of `/proc/PID/maps` as arrays."""

from __future__ import annotations

import numpy as np

from pghot.kernel.maps import Mappings, read_maps_text
from pghot.kernel.sysroot import SysRoot


def parse_maps(text: bytes) -> Mappings:
    """The mappings in the user's half of the addresses; lines that are no mappings are left out."""
    from pghot.kernel.maps_decode import decode  # loads Numba, which naming a source must not

    most = text.count(b"\n") + 1
    kind = np.empty(most, np.uint8)
    start, end, device, inode, offset = np.empty((5, most), np.uint64)
    found = decode(np.frombuffer(text, np.uint8), start, end, kind, device, inode, offset)
    return Mappings(start[:found], end[:found], kind[:found], device[:found], inode[:found], offset[:found])


def read_maps(root: SysRoot, pid: int) -> Mappings:
    """The process's mappings. Raises `OSError` as `read_maps_text`."""
    return parse_maps(read_maps_text(root, pid))
