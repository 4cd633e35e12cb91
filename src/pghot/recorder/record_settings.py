"""What a recording is made with."""

from __future__ import annotations

from dataclasses import dataclass

from pghot.errors import UsageError
from pghot.units import LINE_BYTES, format_duration

# The nominal speed that turns instructions (of all threads) into virtual time: two a nanosecond.
NS_PER_INSTRUCTION = 0.5

# The plugin's filter in front of the last-level cache (plugin.c FILTER_LINES): hits in it are touches that
# the last-level cache does not see, as hits in a real L1 or L2 are.
FILTER_BYTES = 1024 * LINE_BYTES

_SHORTEST_SLICE_NS = 1_000
_LONGEST_SLICE_NS = 500_000_000  # counts of a page in a slice are 32 bits
_LARGEST_LLC_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """Slice of virtual time; modelled last-level cache; which processes; when to stop (0 = never).

    cpu      the CPU model that qemu shows to the program: "max" has every extension that it can emulate
    flush_s  seconds of recording that a killed recorder loses at most
    compressibility  sample the contents of touched pages, and how well they compress
    """

    slice_ns: int = 1_000_000
    llc_bytes: int = 32 << 20
    llc_ways: int = 16
    follow_children: bool = False
    force: bool = False
    max_duration_s: float = 0.0
    cpu: str = "max"
    flush_s: float = 2.0
    compressibility: bool = False
    notes: tuple[str, ...] = ()

    @property
    def slice_instructions(self) -> int:
        return round(self.slice_ns / NS_PER_INSTRUCTION)

    @property
    def llc_sets(self) -> int:
        return self.llc_bytes // (self.llc_ways * LINE_BYTES)

    def check(self) -> None:
        """Raises `UsageError` for what the plugin cannot do."""
        if not _SHORTEST_SLICE_NS <= self.slice_ns <= _LONGEST_SLICE_NS:
            low, high = format_duration(_SHORTEST_SLICE_NS), format_duration(_LONGEST_SLICE_NS)
            raise UsageError(
                f"a slice of {format_duration(self.slice_ns)} is out of range", f"give {low} to {high}"
            )
        if not 1 <= self.llc_ways <= 128:
            raise UsageError(
                f"a cache of {self.llc_ways} ways cannot be modelled", "give 1 to 128 ways; 16 is common"
            )
        if self.llc_sets < 1 or self.llc_bytes > _LARGEST_LLC_BYTES:
            raise UsageError(
                f"a last-level cache of {self.llc_bytes} bytes with {self.llc_ways} ways cannot be modelled",
                f"give at least {self.llc_ways * LINE_BYTES} bytes (one set), at most 4 GiB",
            )
        if self.max_duration_s < 0:
            raise UsageError(
                f"a duration of {self.max_duration_s} s is negative", "write a duration such as '60 s'"
            )
