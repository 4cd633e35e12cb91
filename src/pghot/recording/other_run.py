"""Samples of one run of a program for the recording of another: page contents that were sampled later.

The bundled recordings were made without samples; `benchmarks/recordings/make.py --samples` ran the same commands once
more. Under emulation a program lays out its memory the same way each time, except for a few pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64
from pghot.recording.compressibility import Compressibility
from pghot.recording.trace import Region


def transplanted(
    samples: Compressibility, theirs: Iterable[Region], ours: Iterable[Region], origin: str
) -> Compressibility:
    """The samples on the pages of another recording; `origin` says from which run they are.

    Pages are matched within each space and region name, by their position in the order of addresses. Where the two
    recordings have a different number of pages, the position is scaled. Samples of unknown names are left out.
    """
    target = _pages_by_name(ours)
    page = np.full(int(samples.page.max(initial=0)) + 1, -1, np.int64)
    for key, source in _pages_by_name(theirs).items():
        mine = target.get(key)
        known = source < len(page)
        if mine is not None:
            position = np.flatnonzero(known) * len(mine) // len(source)
            page[source[known]] = mine[position]
    placed = page[samples.page]
    kept = placed >= 0
    return replace(
        samples,
        page=placed[kept].astype(np.uint32),
        time_ns=samples.time_ns[kept],
        flags=samples.flags[kept],
        stored=samples.stored[:, kept],
        origin=origin,
    )


def _pages_by_name(regions: Iterable[Region]) -> dict[tuple[int, str], I64]:
    """Dense pages of each (space, name), by address."""
    found: dict[tuple[int, str], list[npt.NDArray[np.int64]]] = {}
    for region in sorted(regions, key=lambda region: region.start_address):
        pages = np.arange(region.first_page, region.first_page + region.pages, dtype=np.int64)
        found.setdefault((region.space, region.name), []).append(pages)
    return {key: np.concatenate(parts) for key, parts in found.items()}
