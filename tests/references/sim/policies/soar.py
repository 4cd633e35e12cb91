"""Soar in plain Python, written from its description: the objects that stall most for each page come first."""

from __future__ import annotations

from collections.abc import Sequence


def soar_reference(
    objects: Sequence[str],
    misses: Sequence[int],
    sequential: Sequence[int],
    in_flight: Sequence[float],
    room: int,
) -> set[int]:
    """The pages of the fast tier. `objects` has the name of each page's object; equals go by their first page.

    misses, sequential  of each page; 20 of the sequential ones are in flight, as prefetchers have them
    in_flight           how many of the others are, at each page
    """
    pages: dict[str, list[int]] = {}
    for page, name in enumerate(objects):
        pages.setdefault(name, []).append(page)

    def worth(name: str) -> float:
        waits = [
            (misses[page] - sequential[page]) / in_flight[page] + sequential[page] / 20
            for page in pages[name]
        ]
        return sum(waits) / len(waits)

    ranked = sorted(pages, key=lambda name: -worth(name))
    return set([page for name in ranked for page in pages[name]][:room])
