"""TPP in plain Python, written from its description: the second hint fault promotes, if there is room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def tpp_reference(
    slices: Sequence[Sequence[int]], on_top: Iterable[int], room: int, faults: int
) -> list[set[int]]:
    """The pages on the fast tier after each slice. `slices` holds pages that fault, in order; nothing is demoted."""
    fast, inactive_faults = set(on_top), {}
    found = []
    for slice_ in slices:
        for page in slice_:
            if page in fast:
                continue  # the scanner leaves pages of the top tier alone
            inactive_faults[page] = inactive_faults.get(page, 0) + 1
            if inactive_faults[page] >= faults and room > 0:
                fast.add(page)
                room -= 1
        found.append(set(fast))
    return found
