"""DAMOS as the mover: the kernel's DAMON finds hot and cold regions and moves their pages.

pghot moves nothing itself. It sets DAMON up, limits it, watches it and counts. Every page that may move is in the
journal before its kdamond is switched on. To see what moved, pghot asks for the nodes of all tracked pages.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict, cast

from pghot.errors import PghotError, UnsupportedError
from pghot.kernel.cgroup import cgroup_inode, memory_cgroups
from pghot.kernel.damon_sysfs import NUMBER, Kdamond, Ranges
from pghot.kernel.damos_sysfs import STATS, Schemes
from pghot.kernel.iomem import system_ram
from pghot.kernel.memory_blocks import read_block_ranges
from pghot.kernel.needs import require
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import SetKnob, Space
from pghot.live.damos.damos_needs import damon_needs
from pghot.live.damos.others import OtherPages
from pghot.live.damos.plan import MIB, Lane, Planner
from pghot.live.damos.sweep import Sweep
from pghot.live.machine.mover import Mover, Origins
from pghot.live.machine.placement import Placement
from pghot.live.machine.room import Room
from pghot.live.machine.spaces import Spaces
from pghot.units import PAGE_BYTES

STATS_MS = 5_000
ASK_MS = 300  # the kernel's answer takes an aggregation
OTHERS_MS = 10_000  # between two searches for anonymous pages in mappings that are not movable
LOOK_SHARE = 0.1  # at most so much of the time goes into looking where pages are
COMMIT_MS = 100  # how often the kernel checks for a finished commit (damon_sysfs_handle_cmd)


# What kdamonds are told to watch: a cgroup and its inode, or a pid and its movable ranges.
Target = tuple[str, int] | tuple[int, Ranges]


@dataclass(slots=True)
class _Kdamond:
    """A kdamond at work.

    acts, bounded  of each step: whether it may act, and whether its quota is in force
    asked_ms       when the quotas were asked for last
    stats          what the kernel counted of each step so far
    """

    lane: Lane
    kdamond: Kdamond
    schemes: Schemes
    acts: list[bool] = field(default_factory=list)
    bounded: list[bool] = field(default_factory=list)
    on: bool = False
    asked_ms: int = 0
    stats: list[dict[str, int]] = field(default_factory=list)
    watched_bytes: int = 0
    sweep: Sweep = field(default_factory=Sweep)

    def hold(self) -> None:
        """As before it is switched on: nothing may act, no quota is in force, nothing was looked at."""
        self.acts = [False] * len(self.lane.steps)
        self.bounded = list(self.acts)
        self.sweep = Sweep.of(any(step.when == "sweep" for step in self.lane.steps))

    def swept(self) -> list[int]:
        """Bytes that the sweep of each cgroup has looked at so far."""
        steps = zip(self.lane.steps, self.stats, strict=False)
        return [stats["sz_tried"] for step, stats in steps if step.when == "sweep"]


class SchemeCounts(TypedDict, total=False):
    """The kernel's own counts of a scheme, once it has told any: `STATS`."""

    nr_tried: int
    sz_tried: int
    nr_applied: int
    sz_applied: int
    qt_exceeds: int


class SchemeFacts(SchemeCounts):
    kdamond: int
    running: bool
    action: str
    when: str
    from_node: int
    to_node: int
    cgroup: str | None
    acts: bool
    swept: float
    quota_bytes: int
    reset_interval_ms: int


class MoverFacts(TypedDict):
    """Of the mover move_pages there is only the name."""

    name: str
    operations: NotRequired[str]
    schemes: NotRequired[list[SchemeFacts]]


class Damos:
    """`start` once the origins of all movable pages are written; `tick` each round, `refresh` each second."""

    def __init__(
        self,
        root: SysRoot,
        planner: Planner,
        spaces: Spaces,
        *,
        placement: Placement,
        mover: Mover,
        room: Room,
        journal: Origins | None,
        cgroups: tuple[str, ...],
    ) -> None:
        self._root, self._topology, self._spaces = root, planner.topology, spaces
        self._placement, self._mover, self._room = placement, mover, room
        self._planner, self._cgroups = planner, cgroups
        self._apply = planner.apply
        self.operations = "paddr" if cgroups else "fvaddr"
        self._kdamonds: list[_Kdamond] = []
        self._watched: list[Target] = []
        self._set_knob: SetKnob | None = None
        self._others = OtherPages(root, spaces, journal) if cgroups and planner.apply else None
        self._gone = dict.fromkeys(STATS, 0)
        self._then_ms = self._looked_ms = self._asked_ms = self._others_ms = 0
        self._look_cost_ms = 0.0
        self._counts = dict.fromkeys(("damos_refused_commits", "damos_held_back"), 0)

    # ---- the run

    def start(self, set_knob: SetKnob) -> None:
        """Make the kdamonds and switch them on, through the journal. Undo switches each off, then removes them.

        Raises `PghotError` when DAMON refuses, `UsageError` for a cgroup whose memory is not counted on its own.
        """
        require("damos", damon_needs(self._root, bool(self._cgroups)))
        self._set_knob = set_knob
        if self._others is not None:
            self._others.write()
        self._watched = self._to_watch()
        lanes = self._lanes()
        set_knob(NUMBER, str(len(lanes)))
        for number, lane in enumerate(lanes):
            kdamond = Kdamond(self._root, self.operations, self._planner.settings.intervals, number)
            kdamond.configure()
            schemes = Schemes(self._root, kdamond, number)
            self._kdamonds.append(_Kdamond(lane, kdamond, schemes))
        for each in self._kdamonds:
            each.hold()
            self._fill(each)
            self._on(each)

    def tick(self, now_ms: int) -> None:
        """Let schemes act or hold them back, depending on free memory. Waits for the kdamond when one changes."""
        gap_ms = now_ms - self._then_ms if self._then_ms else 0
        self._then_ms = now_ms
        for node in self._filling():
            self._room.filled(node)
        for each in self._kdamonds:
            self._ask_bounded(each, now_ms)
        before = [list(each.acts) for each in self._kdamonds]
        self._gate(now_ms, gap_ms)
        for each, acted in zip(self._kdamonds, before, strict=True):
            if each.acts != acted and each.on:
                self._commit(each)

    def refresh(self, now_ms: int) -> None:
        """Follow programs and cgroups that came, went or changed; write down new pages; count what moved."""
        watched = self._to_watch()
        changed = watched != self._watched
        # The journal comes before anything that DAMON is told.
        if changed or now_ms - self._looked_ms >= self._look_cost_ms / LOOK_SHARE:
            self._look(now_ms)
        if changed:
            self._watched = watched
            self._follow()
        for each in self._kdamonds:
            each.on = each.on and each.kdamond.running
            if watched and not each.on:
                self._revive(each)
        if now_ms - self._asked_ms >= STATS_MS or self._sweeping():
            self._asked_ms = now_ms
            self._read_stats(now_ms)

    def stop(self) -> None:
        """Read the last statistics. Whoever set the knobs puts them back; call `count` after that."""
        self._read_stats(self._asked_ms)
        self._set_knob = None

    def count(self) -> None:
        """Ask where all tracked pages are; write down new ones and count moved ones."""
        if self._apply:
            for space in self._spaces.spaces:
                for page, before in self._placement.look(space):
                    self._mover.write_origins(page)
                    for node in self._topology.with_memory:
                        self._mover.count(page, before, node)

    # ---- what it tells

    def counters(self) -> dict[str, int]:
        """Of those schemes that move, as the kernel counts them."""
        total = dict(self._gone)
        for each in self._kdamonds:
            for step, stats in zip(each.lane.steps, each.stats, strict=False):
                if step.moves:
                    for name in STATS:
                        total[name] += stats[name]
        return {**{f"damos_{name}": total[name] for name in STATS}, **self._counts}

    def facts(self) -> MoverFacts:
        """For `status`: each scheme, what it may do now, and what it did."""
        return {
            "name": "damos",
            "operations": self.operations,
            "schemes": [
                {
                    "kdamond": number,
                    "running": each.on,
                    "action": step.scheme.action,
                    "when": step.when,
                    "from_node": step.source,
                    "to_node": step.target,
                    "cgroup": next((reject.memcg for reject in step.scheme.rejects if reject.memcg), None),
                    "acts": acts,
                    "swept": 1.0 if each.sweep.over else each.sweep.share,
                    "quota_bytes": step.scheme.quota_bytes,
                    "reset_interval_ms": step.scheme.reset_ms,
                    **cast(SchemeCounts, stats),
                }
                for number, each in enumerate(self._kdamonds)
                for step, acts, stats in zip(
                    each.lane.steps, each.acts, each.stats or [{}] * len(each.acts), strict=False
                )
            ],
        }

    # ---- what is watched

    def _memcgs(self) -> list[str]:
        found = [memcg for cgroup in self._cgroups for memcg in memory_cgroups(self._root, cgroup)]
        return list(dict.fromkeys(found))

    def _to_watch(self) -> list[Target]:
        """What the kdamonds should watch; compared with what they were told, to see changes.

        A cgroup comes with its inode, because a filter holds a number that a later cgroup may get.
        """
        if self._cgroups:
            return [(memcg, cgroup_inode(self._root, memcg)) for memcg in self._memcgs()]
        return [(space.pid, _ranges(space)) for space in self._spaces.spaces if len(space.start)]

    def _lanes(self) -> list[Lane]:
        return self._planner.by_node(self._memcgs()) if self._cgroups else self._planner.by_program()

    def _fill(self, each: _Kdamond) -> None:
        if each.lane.node < 0:
            spaces = [(space.pid, _ranges(space)) for space in self._spaces.spaces if len(space.start)]
            each.kdamond.watch_ranges(spaces)
            watched = [pair for _, ranges in spaces for pair in ranges]
        else:
            watched = _memory_of(self._root, each.lane.node)
            each.kdamond.watch_memory(watched)
        each.watched_bytes = sum(end - start for start, end in watched)
        each.schemes.write([step.scheme for step in each.lane.steps], each.acts)

    def _follow(self) -> None:
        """Tell the same kdamonds about other programs or cgroups. What they know about unchanged memory stays."""
        if not self._watched:
            for each in self._kdamonds:
                each.kdamond.off()
                each.on = False
            return
        for each, lane in zip(self._kdamonds, self._lanes(), strict=False):
            # The kernel keeps its counts by the position of a scheme in the list, and drops the last ones.
            count = len(lane.steps)
            self._keep(each, count)
            each.lane = lane
            each.acts = [*each.acts, *[False] * count][:count]
            each.bounded = [*each.bounded, *[False] * count][:count]
            each.asked_ms = 0
            if each.on:
                self._commit(each, anew=True)

    def _commit(self, each: _Kdamond, anew: bool = False) -> None:
        """Tell a running kdamond. One that refuses (a program or cgroup just ended) is switched off, so that no scheme
        acts that should not. The next refresh tries again."""
        try:
            if anew:
                self._fill(each)
            else:
                each.schemes.switch(each.acts)
            each.kdamond.commit()
        except PghotError:
            self._counts["damos_refused_commits"] += 1
            each.kdamond.off()
            each.on = False

    def _keep(self, each: _Kdamond, first: int) -> None:
        """Add up what the kernel counted for the schemes from `first` on, because it is about to forget that."""
        for step, stats in list(zip(each.lane.steps, each.stats, strict=False))[first:]:
            if step.moves:
                for name in STATS:
                    self._gone[name] += stats[name]
        each.stats = each.stats[:first]

    def _on(self, each: _Kdamond) -> None:
        if self._set_knob is not None and self._watched:
            self._set_knob(each.kdamond.state, "on")
            each.on = True
            self._keep(each, 0)

    def _ask_bounded(self, each: _Kdamond, now_ms: int) -> None:
        """No scheme acts before its quota is in force. A goal already reached keeps a quota at zero for long."""
        steps = zip(each.lane.steps, each.bounded, strict=True)
        wait_ms = STATS_MS if all(bounded for step, bounded in steps if step.when != "demote") else ASK_MS
        if all(each.bounded) or not each.on or now_ms - each.asked_ms < wait_ms:
            return
        each.asked_ms = now_ms
        with contextlib.suppress(PghotError):  # it ended just now
            now = each.schemes.bounded()
            each.bounded = [was or new for was, new in zip(each.bounded, now, strict=True)]

    def _revive(self, each: _Kdamond) -> None:
        """Start a kdamond again. It ended with its last program, or was switched off when it refused a change."""
        each.hold()
        try:
            self._fill(each)
            self._on(each)
        except PghotError:
            self._counts["damos_refused_commits"] += 1

    # ---- the sweep and the free floor

    def _gate(self, now_ms: int, gap_ms: int) -> None:
        """Hold promotion back until every page was looked at, and while its target has less room than could be filled
        before promotion can be stopped. Let it act again at twice that room. Demotion makes room up to three times as
        much."""
        slack = self._slack_pages(gap_ms)
        for each in self._kdamonds:
            ready = each.sweep.ready(now_ms)
            for number, step in enumerate(each.lane.steps):
                acts = each.acts[number]
                if not each.bounded[number]:
                    continue
                if step.when == "sweep":
                    each.acts[number] = each.sweep.acts(now_ms, each.swept())
                elif step.when == "prime":
                    each.acts[number] = ready
                elif step.when == "promote":
                    room = self._room.on(step.target)
                    each.acts[number] = ready and room >= (1 if acts else 2) * slack
                    if acts and not each.acts[number]:
                        self._counts["damos_held_back"] += 1
                else:
                    short = self._room.on(step.source) < (3 if acts else 2) * slack
                    each.acts[number] = short and self._room.on(step.target) > slack

    def _filling(self) -> set[int]:
        """Nodes to which promotion acts now."""
        return {
            step.target
            for each in self._kdamonds
            for step, acts in zip(each.lane.steps, each.acts, strict=True)
            if acts and step.when == "promote"
        }

    def _slack_pages(self, gap_ms: int) -> int:
        """Pages that the quotas allow from one look at free memory until a resulting change takes effect: the time
        between two rounds, the wait for the commit and an aggregation, and a quota that is still unused."""
        settings = self._planner.settings
        _, reset_ms = self._planner.quota(1)
        wait_ms = 2 * max(gap_ms, COMMIT_MS) + COMMIT_MS + settings.aggregate_us // 1000 + reset_ms
        return int(self._planner.rate_mb_s * MIB / 1000 * wait_ms) // PAGE_BYTES

    # ---- what moved

    def _look(self, now_ms: int) -> None:
        began = time.monotonic()
        if self._others is not None and now_ms - self._others_ms >= OTHERS_MS:
            self._others_ms = now_ms
            self._others.write()
        self.count()
        self._refuse_untracked()
        self._looked_ms, self._look_cost_ms = now_ms, 1000 * (time.monotonic() - began)

    def _refuse_untracked(self) -> None:
        if self._spaces.skipped["no_section"]:
            raise UnsupportedError(
                "the programs use more address space than is tracked: DAMOS would move pages whose origin is not known",
                "track fewer programs, or raise 'tracked' of the daemon",
            )

    def _sweeping(self) -> bool:
        return any(each.on and each.sweep.share < 1 for each in self._kdamonds)

    def _read_stats(self, now_ms: int) -> None:
        for each in self._kdamonds:
            if each.on and each.kdamond.running:
                with contextlib.suppress(PghotError):  # it ended just now
                    each.stats = each.schemes.read_stats()
                    each.sweep.looked(now_ms, each.swept(), each.watched_bytes)


def _ranges(space: Space) -> Ranges:
    return list(zip(space.start.tolist(), space.end.tolist(), strict=True))


def _memory_of(root: SysRoot, node: int) -> list[tuple[int, int]]:
    """Ranges of the node's physical memory, in whole pages. Blocks in which nodes meet are left out."""
    found = []
    for block in read_block_ranges(root):
        if block.node == node:
            for start, end in system_ram(root):
                low = max(-(-start // PAGE_BYTES), block.first_pfn) * PAGE_BYTES
                high = min(end // PAGE_BYTES, block.end_pfn) * PAGE_BYTES
                if low < high:
                    found.append((low, high))
    return sorted(found)
