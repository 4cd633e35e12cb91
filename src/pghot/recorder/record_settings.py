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

# What a page's row has room for: counters of up to so many caches (plugin.c MAX_CACHES).
MAX_CACHES = 4

# Slices are this fine unless that makes the recording too large: then they are joined at its end.
FINEST_SLICE_NS = 250_000

_SHORTEST_SLICE_NS = 1_000
_LONGEST_SLICE_NS = 500_000_000  # counts of a page in a slice are 32 bits
_LARGEST_LLC_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """Slice of virtual time; modelled last-level caches; which processes; when to stop (0 = never).

    max_bytes    slices are joined in twos, fours, ... at the end until the file has no more than that (0 = never)
    cache_bytes  the caches whose misses are counted, smallest first; all see the same accesses
    children     whether forked processes are recorded too
    cpu      the CPU model that qemu shows to the program: "max" has every extension that it can emulate
    takes_s  how long the program takes by itself, to tell what is left (0 = not known)
    flush_s  seconds of recording that a killed recorder loses at most
    compressibility  sample the contents of touched pages, and how well they compress
    stacks   follow the calls of each thread, and keep those at which memory was mapped
    """

    slice_ns: int = FINEST_SLICE_NS
    max_bytes: int = 64 << 20
    cache_bytes: tuple[int, ...] = (1 << 20, 4 << 20, 32 << 20)
    llc_ways: int = 16
    children: bool = True
    force: bool = False
    max_duration_s: float = 0.0
    cpu: str = "max"
    takes_s: float = 0.0
    flush_s: float = 2.0
    compressibility: bool = False
    stacks: bool = False
    notes: tuple[str, ...] = ()

    @property
    def slice_instructions(self) -> int:
        return round(self.slice_ns / NS_PER_INSTRUCTION)

    @property
    def cache_sets(self) -> tuple[int, ...]:
        return tuple(size // (self.llc_ways * LINE_BYTES) for size in self.cache_bytes)

    @property
    def modelled_bytes(self) -> tuple[int, ...]:
        """The caches as they are modelled, in whole sets."""
        return tuple(sets * self.llc_ways * LINE_BYTES for sets in self.cache_sets)

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
        if not 1 <= len(self.cache_bytes) <= MAX_CACHES or list(self.cache_bytes) != sorted(
            set(self.cache_bytes)
        ):
            raise UsageError(
                f"{len(self.cache_bytes)} last-level caches cannot be modelled, or not in this order",
                f"give 1 to {MAX_CACHES}, the smallest first, such as '256 KiB, 1 MiB, 4 MiB'",
            )
        for size, sets in zip(self.cache_bytes, self.cache_sets, strict=True):
            if sets < 1 or size > _LARGEST_LLC_BYTES:
                raise UsageError(
                    f"a last-level cache of {size} bytes with {self.llc_ways} ways cannot be modelled",
                    f"give at least {self.llc_ways * LINE_BYTES} bytes (one set), at most 4 GiB",
                )
        for duration_s in (self.max_duration_s, self.takes_s):
            if duration_s < 0:
                raise UsageError(
                    f"a duration of {duration_s} s is negative", "write a duration such as '60 s'"
                )
