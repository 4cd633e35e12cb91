"""Which calls mapped some pages of a recording, where the recorder was asked for it (`pghot record --stacks`)."""

from __future__ import annotations

from dataclasses import dataclass

from pghot.errors import PghotError
from pghot.recording.reader import Recording
from pghot.recording.reallocations import Reallocation, from_facts
from pghot.recording.target import Target

BETWEEN = " < "  # the frames of a site


@dataclass(frozen=True, slots=True)
class Allocation:
    """Pages that were mapped at one site.

    frames  of the call, the innermost first; empty: not known
    time_s  since when it is so, from the start of the recording; None: from the first touch on
    """

    frames: tuple[str, ...]
    pages: int
    time_s: float | None


def allocations_of(recording: Recording, target: Target) -> tuple[Allocation, ...]:
    """The first sites of the target's pages, those of the most pages first; then the later ones, in the order of time.

    Raises `PghotError` where the recording's later sites are none.
    """
    try:
        later = from_facts(recording.final)
    except ValueError as error:
        raise PghotError(f"{recording.path} contradicts itself: {error}", "record it again") from None
    pages: dict[str, int] = {}
    for span in target.spans:
        if span.site:
            pages[span.site] = pages.get(span.site, 0) + span.pages
    first = [
        Allocation(frames_of(site), pages[site], None)
        for site in sorted(pages, key=lambda site: -pages[site])
    ]
    ordered = sorted(later, key=lambda each: each.time_ns)
    found = [(each, common) for each in ordered if (common := _common(each, target))]
    start_ns = recording.first_ns
    return (
        *first,
        *(
            Allocation(frames_of(each.site), common, (each.time_ns - start_ns) / 1e9)
            for each, common in found
        ),
    )


def _common(each: Reallocation, target: Target) -> int:
    """How many of its pages are the target's."""
    end = each.first_page + each.pages
    return sum(
        max(0, min(end, span.first_page + span.pages) - max(each.first_page, span.first_page))
        for span in target.spans
    )


def frames_of(site: str) -> tuple[str, ...]:
    """The frames of a region's site, the innermost first; none where it is not known."""
    return tuple(site.split(BETWEEN)) if site else ()
