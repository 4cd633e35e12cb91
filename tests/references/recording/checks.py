"""Slow, plain versions of the kernels of `pghot.recording.checks`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pghot.arrays import I16, I64, U16, U32, U64


def first_problem_reference(
    offsets: I64,
    page: U32,
    node: I16,
    process: U16,
    thread: U16,
    touches: U32,
    writes: U32,
    sequential: U32,
    strided: U32,
    dependent: U32,
    misses_by_cache: U32,
    pages: int,
    nodes: int,
    totals: U64,
) -> tuple[int, int]:
    """`first_problem` by the definition."""
    keys = list(zip(*(column.tolist() for column in (page, node, process, thread)), strict=True))
    counters = [
        column.tolist() for column in (touches, writes, sequential, strided, dependent, *misses_by_cache)
    ]
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        for i in range(begin, end):
            touched, written, *patterns = (column[i] for column in counters[:5])
            misses = [column[i] for column in counters[5:]]
            broken = {
                1: page[i] >= pages,
                6: not 0 <= node[i] < nodes,
                2: i > begin and keys[i] <= keys[i - 1],
                3: max(misses) > touched,
                4: sum(patterns) > misses[0],
                5: written > touched,
            }
            for rule, is_broken in broken.items():
                if is_broken:
                    return i, rule
    whole: npt.NDArray[np.uint64] = np.array([sum(column) for column in counters], np.uint64)
    totals += whole
    return -1, 0
