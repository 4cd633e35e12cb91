"""Slow, plain versions of the kernels of `pghot.sim.sources.damon`, on lists of (first page, end, hits)."""

from __future__ import annotations

from itertools import pairwise

Region = tuple[int, int, int]


def merge_reference(regions: list[Region], threshold: int, most_pages: int) -> list[Region]:
    merged: list[Region] = []
    for first, end, hits in regions:
        if merged:
            begin, middle, before = merged[-1]
            if abs(before - hits) <= threshold and end - begin <= most_pages:
                mean = (before * (middle - begin) + hits * (end - first)) // (end - begin)
                merged[-1] = (begin, end, mean)
                continue
        merged.append((first, end, hits))
    return merged


def split_reference(bounds: list[int], parts: int, tenths: list[int]) -> list[int]:
    """The bounds after each region was cut; `tenths` are drawn for all regions, used or not."""
    drawn = iter(tenths)
    found = []
    for first, end in pairwise(bounds):
        found.append(first)
        for _ in range(parts - 1):
            cut = found[-1] + next(drawn) * (end - found[-1]) // 10
            if found[-1] < cut < end:
                found.append(cut)
    return [*found, bounds[-1]]
