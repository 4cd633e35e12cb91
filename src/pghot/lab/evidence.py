"""Whether a recording holds enough to judge by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pghot.errors import UsageError
from pghot.lab.comparison_setup import Setup
from pghot.lab.outcomes import SummaryRow
from pghot.units import format_size

LEAST_SLICES = 10  # with fewer, no page can be seen to stay hot or to turn cold
_LONGER = "a longer recording"


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why something cannot be told, and what would tell."""

    reason: str
    would_tell: str

    def __str__(self) -> str:
        return f"{self.reason}. {self.would_tell[0].upper()}{self.would_tell[1:]} would tell."


def too_little(setup: Setup, summary: Sequence[SummaryRow]) -> Unknown | None:
    """What the recording lacks; None: it has enough."""
    times = setup.similarity.group_pages  # all but the slices are the real system's
    lack = lacking(
        setup.similarity.footprint_bytes / times,
        round(setup.footprint_pages / times),
        setup.llc_bytes,
        setup.slices,
        setup.misses / times / setup.timing.passes,
    )
    if lack is not None:
        return lack
    if all(row.figures.fast_miss_share is None for row in summary):
        return Unknown("no access missed the cache after the warm-up", f"{_LONGER}, or a shorter --warmup,")
    return None


def lacking(
    recorded_bytes: float, footprint_pages: int, llc_bytes: int, slices: int, misses: float
) -> Unknown | None:
    """As `too_little`, of a recording alone: the bytes and pages that it touches, its cache, slices and misses."""
    if llc_bytes and recorded_bytes <= llc_bytes:
        return Unknown(
            f"the footprint of {format_size(recorded_bytes)} fits in the recorded cache of {format_size(llc_bytes)}",
            "a recording with more data, or with a smaller cache (`pghot record --llc`),",
        )
    if not misses:
        return Unknown("no access missed the recorded cache", _LONGER)
    if slices < LEAST_SLICES:
        return Unknown(
            f"the recording has only {slices} slice{'s' * (slices != 1)}",
            "a longer recording, or one with shorter slices,",
        )
    if misses < footprint_pages:
        return Unknown(f"the recording has {misses:,.0f} cache misses for {footprint_pages:,} pages", _LONGER)
    return None


def refuse(question: str, lack: Unknown | None) -> None:
    """Raise `UsageError` when something is lacking to answer this; a figure would mean nothing."""
    if lack is not None:
        raise UsageError(
            f"{question} cannot be told: {lack.reason}", f"{lack.would_tell.rstrip(',')} would tell"
        )
