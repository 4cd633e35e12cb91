"""What the pages of a trace hold, as a compressed node sees it: bytes when demoted, bytes after a write, owner."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pghot.recording.compressibility import CODINGS
from pghot.recording.page_sizes import PageSizes, compressed_bytes_per_page
from pghot.recording.trace import Trace
from pghot.sim.compressed.device import CompressedDevice
from pghot.sim.compressed.node import Contents
from pghot.units import PAGE_BYTES


def contents_of(trace: Trace, device: CompressedDevice, seed: int) -> Contents:
    """Sizes from the recording's samples, or as the workload says, or, with a warning, from a published distribution.

    A written page gets the size of a second draw from the same distribution: its contents change, but compress about
    as well, unless the workload says otherwise.
    """
    tenant = np.zeros(trace.pages, np.uint16)
    for region in trace.regions:
        tenant[region.first_page : region.first_page + region.pages] = region.space
    if (said := trace.info.stored_bytes) is not None:
        note = f"page sizes as the workload says: {said[0]} B, after a write {said[1]} B for 4 KiB"
        small_pages = trace.info.page_bytes // PAGE_BYTES
        first, rewritten = (np.full(trace.pages, size * small_pages, np.uint32) for size in said)
        return Contents(first, rewritten, tenant, note)
    block = _measured_block(device)
    drawn = compressed_bytes_per_page(trace, device.algorithm, block, 2 * seed)
    again = compressed_bytes_per_page(trace, device.algorithm, block, 2 * seed + 1)
    return Contents(_bytes(drawn), _bytes(again), tenant, drawn.note, drawn.note if drawn.assumed else "")


def _measured_block(device: CompressedDevice) -> int:
    """The smallest measured block that is not smaller than the device's."""
    sizes = [coding.block_bytes for coding in CODINGS if coding.algorithm == device.algorithm]
    return min(size for size in sizes if size >= device.block)


def _bytes(sizes: PageSizes) -> npt.NDArray[np.uint32]:
    return np.where(sizes.zero, 0, sizes.stored).astype(np.uint32)
