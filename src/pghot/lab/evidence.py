"""Whether a recording holds enough to judge by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pghot.lab.comparison_setup import Setup
from pghot.lab.outcomes import SummaryRow
from pghot.units import format_size

LEAST_SLICES = 10  # with fewer, no page can be seen to stay hot or to turn cold


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why something cannot be told, and what would tell."""

    reason: str
    would_tell: str

    def __str__(self) -> str:
        return f"{self.reason}. {self.would_tell[0].upper()}{self.would_tell[1:]} would tell."


def too_little(setup: Setup, summary: Sequence[SummaryRow]) -> Unknown | None:
    """What the recording lacks; None: it has enough."""
    recorded = setup.similarity.footprint_bytes / setup.similarity.group_pages
    longer = "a longer recording"
    if setup.llc_bytes and recorded <= setup.llc_bytes:
        return Unknown(
            f"the footprint of {format_size(recorded)} fits in the recorded cache of {format_size(setup.llc_bytes)}",
            "a recording with more data, or with a smaller cache (`pghot record --llc`),",
        )
    if not setup.misses:
        return Unknown("no access missed the recorded cache", longer)
    if setup.slices < LEAST_SLICES:
        return Unknown(
            f"the recording has only {setup.slices} slice{'s' * (setup.slices != 1)}",
            "a longer recording, or one with shorter slices,",
        )
    misses = setup.misses / setup.timing.passes
    if misses < setup.footprint_pages:
        return Unknown(
            f"the recording has {misses:,.0f} cache misses for {setup.footprint_pages:,} pages", longer
        )
    if all(row.figures.fast_miss_share is None for row in summary):
        return Unknown("no access missed the cache after the warm-up", f"{longer}, or a shorter --warmup,")
    return None
