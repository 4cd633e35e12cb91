"""The dense pages of a recording in the order of their addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pghot.recording.trace import MemoryKind, Region

UNNAMED = "[no region]"


@dataclass(frozen=True, slots=True)
class Span:
    """Dense pages [first_page, first_page + pages), which follow each other in the addresses of one space.

    start_address  of the first of them, bytes; None where no region says which addresses they are
    site           as of `Region`
    """

    first_page: int
    pages: int
    space: int
    start_address: int | None
    name: str
    kind: MemoryKind
    site: str = ""


def spans_of(regions: Sequence[Region], pages: int) -> list[Span]:
    """The regions by address space and address, then the pages of no region; together all pages, each once.

    >>> [(span.first_page, span.name) for span in spans_of([Region(2, 2, 0, 4096, "[heap]")], 5)]
    [(2, '[heap]'), (0, '[no region]'), (4, '[no region]')]
    """
    ordered = sorted(regions, key=lambda region: (region.space, region.start_address))
    spans = [Span(r.first_page, r.pages, r.space, r.start_address, r.name, r.kind, r.site) for r in ordered]
    free = np.ones(pages + 2, np.bool_)
    free[[0, -1]] = False
    for region in regions:
        free[1 + region.first_page : 1 + region.first_page + region.pages] = False
    edges = np.flatnonzero(free[1:] != free[:-1])
    return spans + [
        Span(int(first), int(end - first), 0, None, UNNAMED, MemoryKind.ANON)
        for first, end in zip(edges[::2], edges[1::2], strict=True)
    ]
