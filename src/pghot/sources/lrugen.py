"""Generations of the multi-gen LRU as a live source: the live form of the lab's lru-bw.

It ages the generations of the watched cgroup and reports how many pages are young and old on each node. It names
no pages: the kernel shows counts only. Its use is beside the demotion "lru_gen" of `LinuxMachine`, where the kernel
picks the oldest pages.
"""

from __future__ import annotations

from collections.abc import Sequence

from pghot.kernel.lru_gen import Generation, age, lru_gen_need, read_lru_gen
from pghot.kernel.needs import Need, require
from pghot.kernel.process import cgroup_of
from pghot.kernel.spaces import SetKnob, Watched
from pghot.kernel.sysroot import SysRoot
from pghot.sources.live import Sightings


class LruGen:
    """Options: period_ms  time between two ageing walks; 0: never age, only look."""

    name = "lrugen"
    summary = "generation sizes of the multi-gen LRU per node; counts, no addresses; root"
    weight = 1
    sees = "any"

    def __init__(self, root: SysRoot, period_ms: int = 5000) -> None:
        self._root = root
        self._period_ms = period_ms
        self._effort = 1.0
        self._due_ms = 0.0
        self._paths: frozenset[str] = frozenset()
        self._counts = {"lru_gen_walks": 0, "lru_gen_youngest": 0, "lru_gen_oldest": 0}

    def needs(self) -> list[Need]:
        return [lru_gen_need(self._root)]

    def start(self, watched: Watched, set_knob: SetKnob) -> None:
        require(self.name, self.needs())
        self.watch(watched)

    def watch(self, watched: Watched) -> None:
        self._paths = frozenset(
            [watched.cgroup] if watched.cgroup else [cgroup_of(self._root, pid) for pid in watched.pids]
        )

    def poll(self, now_ms: int) -> Sequence[Sightings]:
        if now_ms < self._due_ms:
            return []
        self._due_ms = now_ms + max(self._period_ms, 1000) / self._effort
        ours = [each for each in read_lru_gen(self._root) if each.path in self._paths]
        if self._period_ms:
            for newest in ends(ours, youngest=True):
                age(self._root, newest)
                self._counts["lru_gen_walks"] += 1
        self._counts["lru_gen_youngest"] = sum(each.anon_pages for each in ends(ours, youngest=True))
        self._counts["lru_gen_oldest"] = sum(each.anon_pages for each in ends(ours, youngest=False))
        return []

    def set_effort(self, share: float) -> None:
        self._effort = share

    def sampling(self) -> str:
        if not self._period_ms:
            return "generation sizes as they are"
        return f"generation sizes, aged every {self._period_ms / self._effort:.0f} ms; names no pages"

    def counters(self) -> dict[str, int]:
        return dict(self._counts)

    def stop(self) -> None:
        self._paths = frozenset()


def ends(generations: Sequence[Generation], youngest: bool) -> list[Generation]:
    """The youngest (or oldest) generation of each memcg and node."""
    found: dict[tuple[int, int], Generation] = {}
    for each in generations:
        key = (each.memcg, each.node)
        if key not in found or (each.number > found[key].number) is youngest:
            found[key] = each
    return list(found.values())
