"""Slow, plain versions of the kernels of `pghot.recording.activity`."""

from __future__ import annotations

from collections import defaultdict

from pghot.arrays import I64, U16, U32

Sums = dict[tuple[int, int, int], int]


def add_activity_reference(
    offsets: I64, bins: I64, page: U32, thread: U16, amounts: U32, name_of_page: U16, threads: int
) -> tuple[Sums, Sums, dict[tuple[int, int], int]]:
    """What `add_activity` adds: (column, bin, name) and (column, bin, thread) to counts, (bin, name) to threads."""
    by_region: Sums = defaultdict(int)
    by_thread: Sums = defaultdict(int)
    who: dict[tuple[int, int], set[int]] = defaultdict(set)
    for s, b in enumerate(bins.tolist()):
        for i in range(int(offsets[s]), int(offsets[s + 1])):
            name, task = int(name_of_page[page[i]]), min(int(thread[i]), threads - 1)
            who[b, name].add(task)
            for column in range(3):
                by_region[column, b, name] += int(amounts[column, i])
                by_thread[column, b, task] += int(amounts[column, i])
    return by_region, by_thread, {key: len(tasks) for key, tasks in who.items()}
