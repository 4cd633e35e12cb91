"""DAMON-based operation schemes (DAMOS) through sysfs: what a kdamond of ours does with what it finds.

Mirrors mm/damon/sysfs-schemes.c. The actions migrate_hot and migrate_cold came with Linux 6.11 for physical memory
("paddr"); for address spaces ("vaddr", "fvaddr") they work since 6.17: older kernels accept them and do
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pghot.kernel.btf import in_btf
from pghot.kernel.damon_sysfs import Kdamond, context_of
from pghot.kernel.sysroot import SysRoot

_PADDR_MIGRATES = (6, 11)
VADDR_MIGRATES = (6, 17)
# Since then `stat` looks at each page through the filters, which is what clears their accessed bits: of physical
# memory since 6.14, of address spaces since 6.18.
STAT_FILTERS = {"paddr": (6, 14), "fvaddr": (6, 18)}

ANY_SIZE = (1 << 64) - 1
MOST = (1 << 32) - 1
STATS = ("nr_tried", "sz_tried", "nr_applied", "sz_applied", "qt_exceeds")


def paddr_migrates(root: SysRoot) -> bool:
    """Whether DAMOS of physical memory migrates. The version counts where the kernel does not tell."""
    told = in_btf(root, "DAMOS_MIGRATE_HOT")
    return root.release() >= _PADDR_MIGRATES if told is None else told


@dataclass(frozen=True, slots=True)
class Reject:
    """Pages of this kind are left alone; with `unless` all others are.

    kind  anon, memcg or young (since Linux 6.10: found accessed since this filter last looked, which makes it old)
    """

    kind: str
    unless: bool = False
    memcg: str = ""


@dataclass(frozen=True, slots=True)
class Scheme:
    """What is done with the regions of a pattern.

    target_nid   where the pages go; -1 for an action that moves none
    accesses     samples of an aggregation that found the region in use, least and most
    age          aggregations for which this has stayed about the same, least and most
    quota_bytes  most that is tried in each `reset_ms`, in whole pages; 0: no limit
    used_bp      stop once this share (1/10000) of the target node is used; 0: no limit. Needs quota goals with the
                 tuner "temporal" (Linux >= 7.1)
    rejects      pages that are left alone
    """

    action: str
    target_nid: int
    accesses: tuple[int, int]
    age: tuple[int, int]
    quota_bytes: int
    reset_ms: int
    used_bp: int
    rejects: tuple[Reject, ...]


class Schemes:
    """The schemes of one kdamond. Nothing acts before the kdamond is switched on, or told to `commit`."""

    def __init__(self, root: SysRoot, kdamond: Kdamond, number: int) -> None:
        self._root, self._kdamond = root, kdamond
        self._path = f"{context_of(number)}/schemes"
        self._count = -1

    def write(self, schemes: Sequence[Scheme], acts: Sequence[bool]) -> None:
        """Fill in all of them; `acts` as in `switch`. Raises as `Kdamond.write`."""
        if len(schemes) != self._count:  # writing the number makes all of them anew
            self._kdamond.write(f"{self._path}/nr_schemes", len(schemes))
            self._count = len(schemes)
        for number, scheme in enumerate(schemes):
            self._fill(f"{self._path}/{number}", scheme)
        self.switch(acts)

    def switch(self, acts: Sequence[bool]) -> None:
        """Which schemes may act. One that may not gets a size that no region has."""
        for number, acting in enumerate(acts):
            size = ANY_SIZE if acting else 0
            self._kdamond.write(f"{self._path}/{number}/access_pattern/sz/max", size)

    def bounded(self) -> list[bool]:
        """Whether the quota of bytes is in force by now, for each scheme. Waits for the kdamond.

        Before Linux 6.18 a quota takes effect only after its first interval. On a machine that booted less than five
        minutes ago it may take until then, because jiffies start below zero.
        """
        self._kdamond.write(self._kdamond.state, "update_schemes_effective_quotas")
        quotas = [f"{self._path}/{number}/quotas" for number in range(max(0, self._count))]
        return [
            self._root.read_or(f"{each}/bytes") == "0"
            or self._root.read_or(f"{each}/effective_bytes", "0") != "0"
            for each in quotas
        ]

    def read_stats(self) -> list[dict[str, int]]:
        """`STATS` of each scheme since the kdamond was switched on: regions and bytes. Waits for the kdamond."""
        self._kdamond.write(self._kdamond.state, "update_schemes_stats")
        return [
            {name: int(self._root.read_or(f"{self._path}/{number}/stats/{name}", "0")) for name in STATS}
            for number in range(max(0, self._count))
        ]

    def _fill(self, path: str, scheme: Scheme) -> None:
        write = self._kdamond.write
        write(f"{path}/action", scheme.action)
        if scheme.target_nid >= 0:
            write(f"{path}/target_nid", scheme.target_nid)
        for name, (least, most) in (("nr_accesses", scheme.accesses), ("age", scheme.age)):
            write(f"{path}/access_pattern/{name}/min", least)
            write(f"{path}/access_pattern/{name}/max", most)
        write(f"{path}/quotas/bytes", scheme.quota_bytes)
        write(f"{path}/quotas/reset_interval_ms", scheme.reset_ms)
        if scheme.action != "stat" and self._root.exists(f"{path}/quotas/fail_charge_denom"):
            # 7.3 has it, 6.12 does not: what did not move, because it was there already or is not ours, costs the quota
            # a thousandth of its size instead of all of it. `stat` never moves anything.
            write(f"{path}/quotas/fail_charge_num", 1)
            write(f"{path}/quotas/fail_charge_denom", 1024)
        self._fill_goal(f"{path}/quotas", scheme)
        self._fill_filters(path, scheme.rejects)

    def _fill_goal(self, path: str, scheme: Scheme) -> None:
        """Set the goal where the kernel has goal_tuner (Linux >= 7.1).

        Without it a goal only shrinks the quota little by little, and grows it again from one byte: that is no bound,
        and a slow start.
        """
        if not scheme.used_bp or not self._root.exists(f"{path}/goal_tuner"):
            return
        write = self._kdamond.write
        write(f"{path}/goal_tuner", "temporal")
        write(f"{path}/goals/nr_goals", 1)
        write(f"{path}/goals/0/target_metric", "node_mem_used_bp")
        write(f"{path}/goals/0/nid", scheme.target_nid)
        write(f"{path}/goals/0/target_value", scheme.used_bp)

    def _fill_filters(self, path: str, rejects: Sequence[Reject]) -> None:
        """In every version, a page is left alone if and only if some filter rejects it.

        Linux 6.14 added `allow`, which makes a filter one that lets pages pass. With it, 6.15 lets the last filter
        decide about pages that none matches: after one that rejects, they pass, as before. 6.15 also added
        ops_filters, for filters of pages alone; `filters` takes all kinds.
        """
        write = self._kdamond.write
        place = f"{path}/ops_filters" if self._root.exists(f"{path}/ops_filters") else f"{path}/filters"
        write(f"{place}/nr_filters", len(rejects))
        for number, reject in enumerate(rejects):
            filter_ = f"{place}/{number}"
            write(f"{filter_}/type", reject.kind)
            if reject.memcg:
                write(f"{filter_}/memcg_path", reject.memcg)
            write(f"{filter_}/matching", "N" if reject.unless else "Y")
            if self._root.exists(f"{filter_}/allow"):
                write(f"{filter_}/allow", "N")
