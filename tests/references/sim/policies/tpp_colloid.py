"""TPP with Colloid in plain Python, written from its description: faults move pages towards the faster tier."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def tpp_colloid_reference(
    slices: Sequence[tuple[bool, Sequence[int]]], on_top: Iterable[int], room: int, faults: int
) -> list[set[int]]:
    """The pages on the fast tier after each slice: whether the fast tier is the slower one, and what faults, in order.

    Of a slice, the faults below come first. The slow tier has room for all.
    """
    fast, count, count_on_top = set(on_top), dict.fromkeys(range(100), 0), dict.fromkeys(range(100), 0)
    found = []
    for slower, pages in slices:
        below, above = [p for p in pages if p not in fast], [p for p in pages if p in fast]
        for page in below:
            count[page] += 1
            if count[page] >= faults and not slower and room > 0:
                fast.add(page)
                room, count[page], count_on_top[page] = room - 1, 0, 0
        for page in above if slower else []:
            count_on_top[page] += 1
            if count_on_top[page] >= faults:
                fast.remove(page)
                room, count_on_top[page] = room + 1, 0
        found.append(set(fast))
    return found
