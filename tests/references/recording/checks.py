"""Slow, plain versions of the kernels of `pghot.recording.checks`."""

from __future__ import annotations

from pghot.arrays import I16, I64, U32


def first_problem_reference(
    offsets: I64,
    page: U32,
    touches: U32,
    misses: U32,
    sequential: U32,
    writes: U32,
    node: I16,
    pages: int,
    nodes: int,
) -> tuple[int, int]:
    """`first_problem` by the definition."""
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        pairs = list(zip(page.tolist(), node.tolist(), strict=True))
        for i in range(begin, end):
            broken = {
                1: page[i] >= pages,
                6: not 0 <= node[i] < nodes,
                2: i > begin and pairs[i] <= pairs[i - 1],
                3: misses[i] > touches[i],
                4: sequential[i] > misses[i],
                5: writes[i] > touches[i],
            }
            for rule, is_broken in broken.items():
                if is_broken:
                    return i, rule
    return -1, 0
