"""The hot memory of each region as a few ranges of addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from pghot.recording.hot_curve import fewest_taking
from pghot.recording.spans import Span

Counts = npt.NDArray[np.uint64]

HOT_PERCENT = 90  # of all misses: what the hot pages take
APART_BYTES = 2 << 20  # a cold stretch shorter than a huge page does not part two ranges


@dataclass(frozen=True, slots=True)
class HotRange:
    """Addresses [start_address, end_address) of one region, from a hot page to a hot page.

    start_address, end_address  None: not known
    pages                       all that were touched in it; `hot_pages` of them are hot
    misses                      of all pages in it
    """

    space: int
    start_address: int | None
    end_address: int | None
    name: str
    kind: str
    pages: int
    hot_pages: int
    misses: int


def hot_ranges(spans: Sequence[Span], misses: Counts, touches: Counts, page_bytes: int) -> list[HotRange]:
    """The hot ranges, most misses first. Hot are the fewest pages that take `HOT_PERCENT` of all misses, and others
    that miss as often as the least of them.

    Hot pages of one region (all mappings of one name in one space) lie in one range, unless `APART_BYTES` or more
    without one lie between them.

    misses, touches  uint64[pages]
    """
    least = _least_of_the_hot(misses)
    if not least:
        return []
    found = []
    for _, of_one_name in groupby(sorted(spans, key=_region), key=_region):
        found += _ranges_of(list(of_one_name), misses, touches, least, page_bytes)
    return sorted(found, key=lambda each: (-each.misses, each.name, each.start_address or 0))


def _region(span: Span) -> tuple[int, str, str]:
    return span.space, span.name, span.kind


def _least_of_the_hot(misses: Counts) -> int:
    """The misses of the coldest hot page; 0 when nothing missed."""
    (hot,) = fewest_taking(misses, [HOT_PERCENT])
    return int(np.sort(misses)[-hot]) if hot else 0


def _ranges_of(
    spans: list[Span], misses: Counts, touches: Counts, least: int, page_bytes: int
) -> list[HotRange]:
    """The ranges of one region; its spans are in the order of their addresses."""
    page = np.concatenate([np.arange(s.first_page, s.first_page + s.pages, dtype=np.int64) for s in spans])
    first, *_ = spans
    known = first.start_address is not None
    place = page
    if known:
        place = np.concatenate(
            [(s.start_address or 0) // page_bytes + np.arange(s.pages, dtype=np.int64) for s in spans]
        )
    hot = np.flatnonzero(misses[page] >= least)
    if not len(hot):
        return []
    cuts = np.flatnonzero((np.diff(place[hot]) - 1) * page_bytes >= APART_BYTES) + 1
    ranges = []
    for part in np.split(hot, cuts):
        own = page[part[0] : part[-1] + 1]
        ranges.append(
            HotRange(
                first.space,
                int(place[part[0]]) * page_bytes if known else None,
                (int(place[part[-1]]) + 1) * page_bytes if known else None,
                first.name,
                str(first.kind),
                int(np.count_nonzero(touches[own])),
                len(part),
                int(misses[own].sum()),
            )
        )
    return ranges
