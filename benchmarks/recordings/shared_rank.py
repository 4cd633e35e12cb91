"""The program of the shared-rank recording: PageRank by several processes over one graph in shared memory.

python shared_rank.py VERTICES EDGES ROUNDS PROCESSES

The graph is a file `graph.bin`: for each vertex the end of its incoming edges (uint64), then where each comes from
(uint32). `--make` before the arguments writes that file instead; the sources are skewed.
"""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np

GRAPH = Path("graph.bin")
BLOCK = 1 << 15
DAMPING = 0.85


def make(vertices: int, edges: int) -> None:
    rng = np.random.default_rng(5)
    ends = np.sort(rng.integers(0, edges, vertices)).astype(np.uint64)
    ends[-1] = edges
    with GRAPH.open("wb") as file:
        ends.tofile(file)
        for start in range(0, edges, BLOCK * 64):
            count = min(BLOCK * 64, edges - start)
            skewed = (rng.random(count) ** 4 * vertices).astype(np.uint64)
            (skewed * np.uint64(2654435761) % np.uint64(vertices)).astype(np.uint32).tofile(file)


class Graph:
    """The arrays, all in one shared memory segment."""

    def __init__(self, memory: SharedMemory, vertices: int, edges: int) -> None:
        self.bytes = vertices * 8 + edges * 4
        self.ends = np.frombuffer(memory.buf, np.uint64, vertices)
        self.sources = np.frombuffer(memory.buf, np.uint32, edges, vertices * 8)
        self.rank = np.frombuffer(memory.buf, np.float64, 2 * vertices, self.bytes).reshape(2, vertices)


def work(graph: Graph, first: int, last: int, rounds: int, together: object) -> None:
    """Rank the vertices [first, last) in each round, block by block; then wait for the others."""
    for round_ in range(rounds):
        old, new = graph.rank[round_ % 2], graph.rank[1 - round_ % 2]
        for begin in range(first, last, BLOCK // 32):
            end = min(begin + BLOCK // 32, last)
            start = int(graph.ends[begin - 1]) if begin else 0
            came = np.concatenate([[0.0], np.cumsum(old[graph.sources[start : int(graph.ends[end - 1])]])])
            bounds = np.concatenate([[start], graph.ends[begin:end]]).astype(np.int64) - start
            new[begin:end] = (1 - DAMPING) / len(old) + DAMPING * np.diff(came[bounds]) * len(old) / len(
                graph.sources
            )
        together.wait()  # type: ignore[attr-defined]


def main(vertices: int, edges: int, rounds: int, processes: int) -> None:
    memory = SharedMemory(create=True, size=vertices * 24 + edges * 4)
    try:
        graph = Graph(memory, vertices, edges)
        with GRAPH.open("rb") as file:
            file.readinto(memory.buf[: graph.bytes])  # type: ignore[attr-defined]
        graph.rank[0] = 1 / vertices
        context = multiprocessing.get_context("fork")
        together = context.Barrier(processes)
        parts = np.linspace(0, vertices, processes + 1).astype(int).tolist()
        workers = [
            context.Process(target=work, args=(graph, parts[number], parts[number + 1], rounds, together))
            for number in range(processes)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        del graph
    finally:
        memory.unlink()


if __name__ == "__main__":
    if sys.argv[1] == "--make":
        make(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main(*(int(word) for word in sys.argv[1:5]))
