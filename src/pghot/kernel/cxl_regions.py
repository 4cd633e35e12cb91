"""Where the memory of a CXL device stands in the machine's physical addresses (`/sys/bus/cxl/devices`).

Documentation/ABI/testing/sysfs-bus-cxl: a region (Linux >= 6.0) is a range of host physical addresses, dealt out in
turns of `interleave_granularity` bytes to the endpoint decoders target0, target1, ...; a decoder maps its share to a
range of its device's own addresses.

Not handled, because sysfs does not say: host bridges that take turns by an XOR of address bits, and platforms whose
host addresses are not the machine's physical ones. Interleaved regions give wrong pages there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U64
from pghot.kernel.sysroot import SysRoot
from pghot.units import PAGE_BYTES

DEVICES = "/sys/bus/cxl/devices"


@dataclass(frozen=True, slots=True)
class Extent:
    """One device's share of a region. Addresses and sizes in bytes.

    dpa, size    the range of device physical addresses
    hpa          first host physical address of the region
    ways, position, granularity  the turns: this device gets number `position` of every `ways`
    """

    dpa: int
    size: int
    hpa: int
    ways: int = 1
    position: int = 0
    granularity: int = PAGE_BYTES


def extents_of(root: SysRoot, memdev: str) -> list[Extent]:
    """The parts of a memory device ("mem0") that are in a region now, by device address."""
    found = []
    for region in root.list(DEVICES):
        base = f"{DEVICES}/{region}"
        if not region.startswith("region") or not root.exists(f"{base}/interleave_ways"):
            continue
        ways, granularity, hpa = (
            _number(root, f"{base}/{name}")
            for name in ("interleave_ways", "interleave_granularity", "resource")
        )
        for position in range(ways):
            decoder = root.read_or(f"{base}/target{position}")
            if decoder and _device_of(root, decoder) == memdev:
                dpa = _number(root, f"{DEVICES}/{decoder}/dpa_resource")
                size = _number(root, f"{DEVICES}/{decoder}/dpa_size")
                found.append(Extent(dpa, size, hpa, ways, position, granularity))
    return sorted((extent for extent in found if extent.size), key=lambda extent: extent.dpa)


def _device_of(root: SysRoot, decoder: str) -> str:
    """The memory device of decoderX.Y: that of its port, endpointX."""
    port = decoder.removeprefix("decoder").partition(".")[0]
    try:
        return os.path.basename(os.readlink(root.path(f"{DEVICES}/endpoint{port}/uport")))
    except OSError:
        return ""


def _number(root: SysRoot, path: str) -> int:
    """A decimal or hexadecimal number; 0 when there is none."""
    try:
        return int(root.read_or(path, "0"), 0)
    except ValueError:
        return 0


def host_addresses(extents: Sequence[Extent], dpa: U64) -> tuple[U64, npt.NDArray[np.bool_]]:
    """Host physical addresses (uint64[K]) of device addresses, and which of them are in some extent (bool[K])."""
    hpa, known = np.zeros(len(dpa), np.uint64), np.zeros(len(dpa), np.bool_)
    for extent in extents:
        inside = (dpa >= np.uint64(extent.dpa)) & (dpa < np.uint64(extent.dpa + extent.size))
        turn, within = np.divmod(dpa[inside] - np.uint64(extent.dpa), np.uint64(extent.granularity))
        turn = turn * np.uint64(extent.ways) + np.uint64(extent.position)
        hpa[inside] = np.uint64(extent.hpa) + turn * np.uint64(extent.granularity) + within
        known |= inside
    return hpa, known


def frames_of_units(extents: Sequence[Extent], unit: U64, unit_bytes: int) -> tuple[U64, I64]:
    """Page frames that units of device memory lie in.

    unit  uint64[K]  numbers of units of `unit_bytes`
    Returns (frame numbers uint64[M], for each the index int64[M] into `unit`): a unit larger than a page, or one that
    takes turns with other devices, lies in several frames, and one outside all extents in none.
    """
    step = min([unit_bytes, PAGE_BYTES, *(extent.granularity for extent in extents)])
    parts = np.arange(0, unit_bytes, step, dtype=np.uint64)
    dpa = (unit[:, None] * np.uint64(unit_bytes) + parts).ravel()
    index = np.repeat(np.arange(len(unit)), len(parts))
    hpa, known = host_addresses(extents, dpa)
    frame, index = hpa[known] // np.uint64(PAGE_BYTES), index[known]
    # Host addresses rise with device addresses inside an extent, so equal frames of a unit are neighbours.
    first = np.ones(len(frame), np.bool_)
    first[1:] = (frame[1:] != frame[:-1]) | (index[1:] != index[:-1])
    return frame[first], index[first].astype(np.int64)


def frame_ranges(extents: Sequence[Extent]) -> list[tuple[int, int]]:
    """The page frames [first, end) of the regions that the extents are parts of."""
    return [
        (extent.hpa // PAGE_BYTES, (extent.hpa + extent.size * extent.ways) // PAGE_BYTES)
        for extent in extents
    ]
