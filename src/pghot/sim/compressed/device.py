"""A memory device that compresses what it stores and promises more than it has: the keys of its description.

It follows the OCP hyperscale tiered memory expander and the argument about it on the kernel's lists (FACTS 6). The
device stores blocks. A block takes as many bytes of the medium as its content compresses to. What matters for safety is
how much a block can grow when some of its lines are written: `stored_bytes_bound`, `line_growth_bytes`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pghot.documents import Shipped, Strict
from pghot.quantities import LatencyNs, RateGbS, Size
from pghot.units import PAGE_BYTES, format_number


class CompressedDevice(Strict):
    """How a device stores and reports. Sizes in bytes.

    block              unit of compression; 64 B lines to 4 KiB pages
    line               unit in which the CPU writes back
    granule            stored sizes are multiples of this; the smallest size of a block that is not all zeros
    spoil              what one written line can do. "block": its whole block no longer compresses.
                       "line": the line is stored raw beside the compressed rest, with `line_overhead`
    line_overhead      extra bytes that a raw line takes
    raw_after_lines    a block with this many written lines is stored raw ("line" only); 0: never
    zero_flag          a block of zeros takes no bytes
    dedup              blocks of equal content are stored once; a write gives the writer its own
    low_share, high_share   shares of the medium that are free: below the first the device warns, above the second it
                       takes the warning back
    interrupt_us       time from crossing a threshold to the handler on a CPU
    report_us          age of the remaining capacity that the control plane reports
    hit_share          share of random misses that the device's cache of decompressed blocks serves
    miss_ns            latency of the other misses: read and decompress a block
    compress_gb_s      rate at which the device compresses what is written, 10**9 bytes/s
    """

    description: str = ""
    block: Size = PAGE_BYTES
    line: Size = 64
    granule: Size = 64
    spoil: Literal["block", "line"] = "block"
    line_overhead: Size = 64
    raw_after_lines: int = Field(0, ge=0, le=PAGE_BYTES)
    zero_flag: bool = True
    dedup: bool = False
    algorithm: Literal["lz4", "zstd"] = "zstd"
    low_share: float = Field(0.05, ge=1e-9, lt=1)
    high_share: float = Field(0.08, gt=0, lt=1)
    interrupt_us: float = Field(10.0, ge=0, le=1e6)
    report_us: float = Field(1.0, ge=0, le=1e6)
    hit_share: float = Field(0.5, ge=0, le=1)
    miss_ns: LatencyNs = 1500.0
    compress_gb_s: RateGbS = 8.0

    @model_validator(mode="after")
    def _consistent(self) -> CompressedDevice:
        if self.line < 1:
            raise ValueError("line must be 1 B or more")
        if self.block < self.line:
            raise ValueError(f"block ({self.block} B) must hold at least one line ({self.line} B)")
        if self.block % self.line or PAGE_BYTES % self.block:
            raise ValueError("block must be a multiple of line and divide 4096 B")
        if not 1 <= self.granule <= self.block:
            raise ValueError("granule must be between 1 B and block")
        if self.low_share >= self.high_share:
            raise ValueError(
                f"low_share ({format_number(self.low_share)}) must be below "
                f"high_share ({format_number(self.high_share)}): "
                "the device warns below the first and takes the warning back above the second"
            )
        return self

    @property
    def lines_per_block(self) -> int:
        return self.block // self.line

    @property
    def blocks_per_page(self) -> int:
        return PAGE_BYTES // self.block

    @property
    def smallest_bytes(self) -> int:
        """The least that a stored block takes."""
        return 0 if self.zero_flag or self.dedup else self.granule

    def stored_bytes_bound(self, before: int, written: int) -> int:
        """The most bytes that a block takes after `written` of its lines were written since it took `before` bytes.

        >>> CompressedDevice(spoil="block").stored_bytes_bound(64, 1)
        4096
        >>> CompressedDevice(spoil="line").stored_bytes_bound(64, 1)
        192
        """
        if written == 0:
            return before
        raw = self.raw_after_lines and written >= self.raw_after_lines
        if self.spoil == "block" or self.dedup or raw:
            return self.block
        bytes_ = before + written * (self.line + self.line_overhead)
        return min(self.block, -(-bytes_ // self.granule) * self.granule)

    @property
    def line_growth_bytes(self) -> int:
        """The most bytes that one more written line can add to its block."""
        return max(
            self.stored_bytes_bound(self.smallest_bytes, lines)
            - self.stored_bytes_bound(self.smallest_bytes, lines - 1)
            for lines in range(1, self.lines_per_block + 1)
        )


DEVICES = Shipped(CompressedDevice, "device", "devices")
load_device = DEVICES.load
