"""What DAMOS is told to do: one kdamond for the memory of each node, or one for the address spaces of programs.

DAMON of physical memory sees everybody's pages. Filters on the cgroup that a page is charged to keep it from moving
those of others. DAMON of address spaces is given the movable ranges of the programs and sees
nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any

from pghot.kernel.damon_sysfs import Intervals
from pghot.kernel.damos_sysfs import MOST, STAT_FILTERS, Reject, Scheme
from pghot.live.machine.nodes import LiveTopology
from pghot.parameters import check_number, checked_options
from pghot.units import PAGE_BYTES

MIB = 1 << 20
# A quota below this would move single pages, or none.
LEAST_QUOTA_BYTES = 16 * PAGE_BYTES
# The sweep, priming and demotion look at so much at most: a fifth of a CPU where a look at a page takes 0.6 us. A quota
# of time would say so directly, but the kernel makes bytes of it that are no whole pages (see `Planner.quota`): in a
# guest with 6.12 the primer never got past the first 81 of 1024 MiB.
LOOK_MB_S = 1280.0
# Demotion may try this many times as much as promotion. A try is charged whether anything moves or not, and on a fast
# node full of others' memory most tries move nothing (6.12 took minutes to find 96 MiB of ours among 900).
DEMOTION_TRIES = 16
EVERYTHING = 10_000  # basis points
_ANON = Reject("anon", unless=True)


@dataclass(frozen=True, slots=True)
class DamosSettings:
    """What DAMON finds hot or cold.

    sample_us, aggregate_us, min_regions, max_regions  as in DAMON's monitoring_attrs, for each node or program
    min_accesses  samples of an aggregation that must have found a region in use, for it to be promoted
    min_age       aggregations for which that must have lasted. Until then its pages are primed; with few
                  aggregations not all are primed in time
    cold_age      aggregations without any access before a region may be demoted
    young         of these regions, promote only pages that were accessed since they were last checked, and demote
                  only the others; false: all their pages
    """

    sample_us: int = 5_000
    aggregate_us: int = 100_000
    min_regions: int = 10
    max_regions: int = 1000
    min_accesses: int = 1
    min_age: int = 3
    cold_age: int = 50
    young: bool = True

    @property
    def intervals(self) -> Intervals:
        return Intervals(self.sample_us, self.aggregate_us, 1_000_000, self.min_regions, self.max_regions)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> DamosSettings:
        """Raises `UsageError` for an unknown option, a value of the wrong kind, or one that DAMON would refuse."""
        checked = checked_options("damos", options, asdict(cls()))
        for name, value in checked.items():
            check_number("damos", name, value, 0)
        made = cls(**checked)
        _ = made.intervals
        return made


@dataclass(frozen=True, slots=True)
class Step:
    """One scheme and when it may act: "sweep" until it has looked at every page, and again each minute; from
    then on "prime" always and "promote" while `target` has room; "demote" while `source` has little."""

    when: str
    source: int
    target: int
    scheme: Scheme

    @property
    def moves(self) -> bool:
        return self.when in ("promote", "demote")


@dataclass(frozen=True, slots=True)
class Lane:
    """One kdamond: the memory of `node`, or the programs' address spaces (-1)."""

    node: int
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Planner:
    """Makes the lanes.

    rate_mb_s  bound of all promotions; MiB/s
    demote     whether a full node makes room
    floor_pages  of each node: what stays free
    release    of the kernel
    apply      false: the actions are replaced by "stat", which moves nothing
    """

    topology: LiveTopology
    settings: DamosSettings
    rate_mb_s: float
    demote: bool
    floor_pages: Sequence[int]
    release: tuple[int, int]
    apply: bool

    def by_node(self, memcgs: Sequence[str]) -> list[Lane]:
        """Physical memory: a kdamond for each node, a set of schemes for each cgroup with memory of its own.

        A filter names one cgroup, and several rejecting filters would leave no page. So each cgroup gets a scheme.
        """
        topology = self.topology
        sharing = max(1, len(topology.lower)) * max(1, len(memcgs))
        lanes = []
        for node in topology.with_memory:
            steps: list[Step] = []
            for memcg in memcgs:
                rejects = (Reject("memcg", unless=True, memcg=memcg), _ANON)
                if node in topology.lower:
                    steps += self._promote(
                        "paddr", node, topology.promotion_targets[node][0], rejects, sharing
                    )
                elif self.demote and topology.demotion_targets[node]:
                    below = topology.demotion_targets[node][0]
                    steps.append(self._demote(node, below, rejects, sharing))
            if steps:
                lanes.append(Lane(node, tuple(steps)))
        return lanes

    def by_program(self) -> list[Lane]:
        """Address spaces: one kdamond. Its regions do not say on which node they are, so only for two nodes."""
        (slow,) = self.topology.lower
        (fast,) = self.topology.top_nodes
        steps = self._promote("fvaddr", slow, fast, (_ANON,), 1)
        if self.demote:
            steps.append(self._demote(fast, slow, (_ANON,), 1))
        return [Lane(-1, tuple(steps))]

    def _promote(
        self, operations: str, source: int, target: int, rejects: tuple[Reject, ...], sharing: int
    ) -> list[Step]:
        s = self.settings
        hot = (s.min_accesses, MOST)
        bytes_, reset_ms = self.quota(sharing)
        young = (Reject("young", unless=True),) if s.young else ()
        action, nid = ("migrate_hot", target) if self.apply else ("stat", -1)
        scheme = Scheme(
            action=action,
            target_nid=nid,
            accesses=hot,
            age=(s.min_age, MOST),
            quota_bytes=bytes_,
            reset_ms=reset_ms,
            used_bp=self._used_bp(target, sharing),
            rejects=rejects + young,
        )
        steps = [Step("promote", source, target, scheme)]
        look = self._look_action(operations, source)
        if s.young and look is not None:
            action, nid = look
            look_ms = max(1, s.aggregate_us // 1000)
            everything = replace(
                scheme,
                action=action,
                target_nid=nid,
                accesses=(0, MOST),
                age=(0, MOST),
                quota_bytes=_whole_pages(LOOK_MB_S, look_ms),
                reset_ms=look_ms,
                used_bp=0,
            )
            if s.min_age:
                # All actions but `stat` set the age to 0: primed more than once, a region would never get old enough.
                oldest = s.min_age - 1 if action == "stat" else 0
                fresh = replace(everything, accesses=hot, age=(0, oldest))
                steps.insert(0, Step("prime", source, target, fresh))
            steps.insert(0, Step("sweep", source, target, everything))
        return steps

    def _look_action(self, operations: str, source: int) -> tuple[str, int] | None:
        """The action that clears accessed bits, so that `young` means something; None where there is none.

        A page that was accessed and never checked is young. Migrating pages to the node where they already are
        checks them and moves none.
        """
        if self.release >= STAT_FILTERS[operations]:
            return "stat", -1
        if operations == "paddr" and self.apply:
            return "migrate_hot", source
        return None

    def _demote(self, source: int, target: int, rejects: tuple[Reject, ...], sharing: int) -> Step:
        s = self.settings
        bytes_, reset_ms = self.quota(sharing)
        young = (Reject("young"),) if s.young else ()
        action, nid = ("migrate_cold", target) if self.apply else ("stat", -1)
        scheme = Scheme(
            action=action,
            target_nid=nid,
            accesses=(0, 0),
            age=(s.cold_age, MOST),
            quota_bytes=min(DEMOTION_TRIES * bytes_, _whole_pages(LOOK_MB_S, reset_ms)),
            reset_ms=reset_ms,
            used_bp=self._used_bp(target, sharing),
            rejects=rejects + young,
        )
        return Step("demote", source, target, scheme)

    def _used_bp(self, node: int, sharing: int) -> int:
        """How full a node may be (1/10000) before the next quota could take it below its floor."""
        capacity = self.topology.capacity_pages[node]
        reserve = self.floor_pages[node] + sharing * self.quota(sharing)[0] // PAGE_BYTES
        return max(1, EVERYTHING * (capacity - reserve) // capacity) if self.apply else 0

    def quota(self, sharing: int) -> tuple[int, int]:
        """Bytes and milliseconds: a share of the rate limit. Rates of a few pages or less get longer intervals.

        Always whole pages. A quota that pages cannot fill exactly never counts as used up, and then the kernel
        starts each interval with the same regions.
        """
        per_ms = self.rate_mb_s * MIB / 1000 / sharing
        reset_ms = max(self.settings.aggregate_us // 1000, ceil((LEAST_QUOTA_BYTES + 1) / per_ms))
        return _whole_pages(self.rate_mb_s / sharing, reset_ms), reset_ms


def _whole_pages(mb_s: float, reset_ms: int) -> int:
    return int(mb_s * MIB / 1000 * reset_ms) // PAGE_BYTES * PAGE_BYTES
