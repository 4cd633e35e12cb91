"""A slow, plain version of the kernel of `pghot.recording.life`."""

from __future__ import annotations

from pghot.arrays import I64, U32, Bool


def add_life_reference(
    offsets: I64, bins: I64, page: U32, amounts: U32, chosen: Bool
) -> tuple[dict[tuple[int, int], int], set[int]]:
    """What `add_life` adds to each (column, bin), and the slices that it sets."""
    counts: dict[tuple[int, int], int] = {}
    touched = set()
    for s, b in enumerate(bins.tolist()):
        for i in range(int(offsets[s]), int(offsets[s + 1])):
            if chosen[page[i]]:
                touched.add(s)
                for column in range(3):
                    counts[column, b] = counts.get((column, b), 0) + int(amounts[column, i])
    return counts, touched
