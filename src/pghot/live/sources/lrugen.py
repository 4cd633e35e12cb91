"""Generations of the multi-gen LRU as a live source: the live form of the lab's lru-bw.

It ages the generations of the watched programs' memcgs. It says how many of their anonymous pages are in use and how
many are not, on the top tier and below it. It names no pages, since the kernel shows only counts.
`pghot.kernel.lru_gen.demote_oldest` acts on the generations; the kernel picks the oldest pages itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from pghot.engine.accesses import Mechanism, Sees
from pghot.errors import PghotError
from pghot.kernel.cgroup import cgroup_name, cgroup_of
from pghot.kernel.lru_gen import Generation, age, lru_gen_need, memcg_path, read_lru_gen
from pghot.kernel.needs import Need, require
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.toptier import kernel_top_nodes
from pghot.kernel.watched import SetKnob, Watched
from pghot.live.sources.access_source import Sightings
from pghot.parameters import check_number

_LOOK_MS = 1000


class LruGen:
    """Options: period_ms  time between two ageing walks; 0: never age, only look."""

    name = "lrugen"
    summary = "generation sizes of the multi-gen LRU per tier; counts, no addresses; root"
    mechanism: Mechanism = None
    inline = False
    released = True
    weight = 1
    sees: Sees = "counts"
    only_reads = False

    def __init__(self, root: SysRoot, period_ms: int = 5000) -> None:
        self._root = root
        check_number(self.name, "period_ms", period_ms, 0)
        self._period_ms = period_ms
        self._effort = 1.0
        self._due_ms = 0.0
        self._watched = Watched(())
        self._top_nodes: frozenset[int] = frozenset()
        self._counts = {"lru_gen_walks": 0}
        self._sizes = dict.fromkeys(_GAUGES.values(), 0)

    def needs(self) -> list[Need]:
        return [lru_gen_need(self._root)]

    def start(self, watched: Watched, set_knob: SetKnob) -> None:
        require(self.name, self.needs())
        self._top_nodes = frozenset(kernel_top_nodes(self._root))
        self.watch(watched)

    def watch(self, watched: Watched) -> None:
        self._watched = watched

    def poll(self, now_ms: int) -> Sequence[Sightings]:
        if now_ms < self._due_ms:
            return []
        self._due_ms = now_ms + (self._period_ms or _LOOK_MS) / self._effort
        try:
            ours = self._ours(read_lru_gen(self._root))
        except PghotError:
            return []  # one failed read means nothing: `needs` has seen it work
        self._sizes = sizes(ours, self._top_nodes)
        if self._period_ms:
            self._age(ours)
        return []

    def _ours(self, generations: Sequence[Generation]) -> list[Generation]:
        """The generations of the watched cgroup and the groups below it, or of the memcgs that the programs are in."""
        if self._watched.cgroup:
            top = cgroup_name(self._watched.cgroup)
            below = top.rstrip("/") + "/"
            return [each for each in generations if each.path == top or each.path.startswith(below)]
        cgroups = {cgroup_of(self._root, pid) for pid in self._watched.pids}
        paths = {memcg_path(cgroup, generations) for cgroup in cgroups}
        return [each for each in generations if each.path in paths]

    def _age(self, generations: Sequence[Generation]) -> None:
        newest = {(each.memcg, each.node): each for each in generations}
        for each in newest.values():
            try:
                age(self._root, each)
            except OSError:
                continue  # its memcg is gone
            self._counts["lru_gen_walks"] += 1

    def set_effort(self, share: float) -> None:
        self._effort = share

    def sampling(self) -> str:
        if not self._period_ms:
            return "generation sizes as they are; names no pages"
        return f"generation sizes, aged every {self._period_ms / self._effort:.0f} ms; names no pages"

    def counters(self) -> dict[str, int]:
        return {**self._counts, **self._sizes}

    def stop(self) -> None:
        self._watched = Watched(())


# (active, on the top tier) -> gauge
_GAUGES = {
    (True, True): "lru_gen_active_top",
    (True, False): "lru_gen_active_lower",
    (False, True): "lru_gen_inactive_top",
    (False, False): "lru_gen_inactive_lower",
}


def sizes(generations: Sequence[Generation], top_nodes: frozenset[int]) -> dict[str, int]:
    """Anonymous pages by gauge. Active pages below the top tier could be promoted; inactive ones on it, demoted."""
    found = dict.fromkeys(_GAUGES.values(), 0)
    for each in generations:
        found[_GAUGES[each.active, each.node in top_nodes]] += each.anon_pages
    return found
