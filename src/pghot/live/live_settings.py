"""The settings of a live run, and whether this machine can do it. Checked before a program is started in vain."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pghot.arrays import NOWHERE
from pghot.engine.accesses import sees_top_tier
from pghot.errors import UnsupportedError, UsageError
from pghot.kernel.base_pages import base_page_needs
from pghot.kernel.cgroup import memory_cgroups, read_limits
from pghot.kernel.needs import require
from pghot.kernel.sysroot import SysRoot
from pghot.live.damos.damos_needs import damos_needs, kernel_needs
from pghot.live.damos.plan import DamosSettings
from pghot.live.groups import Group
from pghot.live.machine.chosen_nodes import AS_THEY_ARE, NodeChoice, choose_nodes
from pghot.live.machine.kinds import ANON_ONLY, Kinds, shared_need
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.machine.nodes import LiveTopology, read_nodes
from pghot.live.machine.sections import SECTION_PAGES
from pghot.live.sources import LIVE_SOURCES
from pghot.live.swap_tier.setup import SWAP_SOURCE, check_compressed
from pghot.live.targets import Targets
from pghot.policies import LIVE_POLICIES
from pghot.policies.live_rules import unseen_is_cold
from pghot.policies.sampling_period import own_period
from pghot.units import PAGE_BYTES, format_size

SECTION_BYTES = SECTION_PAGES * PAGE_BYTES
MOST_SECTIONS = (1 << 17) - 1  # two page numbers stand for "no page"
LEAST_TRACKED_BYTES = 64 << 30


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """What a run is told.

    sources         names of live sources, and the options of each
    policy          name of a policy, and its options
    groups          programs under policies and rates of their own, which are the targets then; the policy of all is
                    unused
    apply           False: a dry run; nothing moves, what would move is counted once for each page
    mover           how pages are moved
    kinds           of memory that are moved; without names, as far as this user and the mover can
    tracked_bytes   address space that may have sections at once; pages beyond it are counted, not tracked. None: what
                    `sections_for` takes
    max_cpu_percent sources sample less when pghot itself uses more of a CPU than this
    nodes           which memory nodes are fast, slow and left out
    damos           what DAMON finds hot, when it is the mover: there are no sources then and the policy is "none"
    """

    targets: Targets
    sources: tuple[str, ...] = ("faults",)
    source_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    policy: str = "pghot-default"
    policy_options: Mapping[str, Any] = field(default_factory=dict)
    apply: bool = False
    mover: MoverSettings = field(default_factory=MoverSettings)
    kinds: Kinds = field(default_factory=Kinds)
    tracked_bytes: int | None = None
    max_cpu_percent: float = math.inf
    nodes: NodeChoice = AS_THEY_ARE
    groups: tuple[Group, ...] = ()
    damos: DamosSettings = field(default_factory=DamosSettings)

    @property
    def all_sources(self) -> tuple[str, ...]:
        """The sources. With compressed swap as a tier, also the one that sees what comes back from there."""
        more = (SWAP_SOURCE,) if self.mover.compressed and SWAP_SOURCE not in self.sources else ()
        return (*self.sources, *more)

    @property
    def all_groups(self) -> tuple[Group, ...]:
        """The groups; without any, one without a name that has all programs."""
        one = Group("", self.targets, self.policy, self.mover.rate_limit_mb_s, self.policy_options)
        return self.groups or (one,)

    def options_of(self, source: str) -> dict[str, Any]:
        """The options of a source: those that were given, and the own rate of the first policy that has one."""
        rate: dict[str, int] = {}
        for group in self.all_groups:
            rate = {**own_period(LIVE_POLICIES.get(group.policy), LIVE_SOURCES.get(source)), **rate}
        return {**rate, **self.source_options.get(source, {})}


def with_damos(settings: LiveSettings, options: Mapping[str, Any]) -> LiveSettings:
    """The same run with DAMON as the mover: it needs no source and no policy of ours. Raises `UsageError`."""
    return replace(
        settings,
        sources=(),
        source_options={},
        policy="none",
        policy_options={},
        damos=DamosSettings.of(options),
    )


def check_sources(root: SysRoot, settings: LiveSettings) -> None:
    """Raise for a source, policy or memory node that does not exist, then for what does not work here."""
    for group in settings.all_groups:
        LIVE_POLICIES.make(group.policy, **group.policy_options)
    sources = {
        name: LIVE_SOURCES.make(name, root, **settings.options_of(name)) for name in settings.all_sources
    }
    check_sight(settings)
    check_goal(settings)
    require("live", base_page_needs(root))
    topology = choose_nodes(root, read_nodes(root), settings.nodes)
    if settings.mover.kind == "damos":
        require("damos", damos_needs(root, topology, bool(settings.targets.whole_cgroups)))
    if settings.mover.compressed:
        check_compressed(root, settings.mover)
    kinds_here(root, settings)
    for name, source in sources.items():
        require(name, source.needs())


def kinds_here(root: SysRoot, settings: LiveSettings) -> Kinds:
    """The kinds of memory that this run can move. Raises for those that were asked for by name and cannot be moved.

    DAMON and compressed swap take anonymous memory only.
    """
    kinds, mover = settings.kinds, settings.mover
    if kinds.moved <= ANON_ONLY.moved:
        return kinds
    if mover.kind == "damos" or mover.compressed:
        if kinds.named:
            how = "the mover damos takes" if mover.kind == "damos" else "compressed swap takes"
            raise UsageError(f"{how} anonymous memory only", "leave the kinds out, or give 'anon'")
        return ANON_ONLY
    need = shared_need(root)
    if not need.met and kinds.named:
        require("kinds", [need])
    return kinds if need.met else ANON_ONLY


def sections_for(tracked_bytes: int | None, topology: LiveTopology) -> int:
    """How many sections `tracked_bytes` are. By default twice the machine's memory, since sections are seldom full, and
    `LEAST_TRACKED_BYTES` at least. What is not used costs address space, no memory.

    Raises `UsageError` for more than page numbers of 32 bits can count.
    """
    if tracked_bytes is None:
        memory = sum(topology.capacity_pages) * PAGE_BYTES
        return min(MOST_SECTIONS, max(LEAST_TRACKED_BYTES, 2 * memory) // SECTION_BYTES)
    if (sections := max(1, tracked_bytes // SECTION_BYTES)) > MOST_SECTIONS:
        raise UsageError(
            f"{format_size(tracked_bytes)} cannot be tracked: pages have numbers of 32 bits",
            f"track {format_size(MOST_SECTIONS * SECTION_BYTES)} at most",
        )
    return sections


def check_nodes(topology: LiveTopology, compressed: bool) -> None:
    """Raise for a node number that does not fit into the byte that each page has. Compressed swap takes one more,
    after all numbers of nodes."""
    if (last := len(topology.rank) - 1 if compressed else max(topology.with_memory)) >= NOWHERE - 1:
        raise UnsupportedError(
            f"memory node {last} is more than pghot can count: it ends at {NOWHERE - 2}",
            "report this machine",
        )


def check_sight(settings: LiveSettings) -> None:
    """Raise where pghot or a policy would pick what goes down by accesses that no source sees."""
    sources = [LIVE_SOURCES.get(name) for name in settings.sources]
    if settings.mover.kind == "damos" or unseen_is_cold(sources):
        return
    policies = [group.policy for group in settings.all_groups]
    by = [name for name in policies if getattr(LIVE_POLICIES.get(name), "demotes", False)]
    remedy = "" if by else ", or use demotion auto"
    if settings.mover.demotion == "move_pages":
        by.append("demotion 'move_pages'")
    if by:
        names = " and ".join(settings.sources)
        raise UsageError(
            f"{by[0]} picks what goes down by what was seen, but {names} sees no page of the top tier",
            f"add a source that sees it{remedy}",
        )


def check_demotion(root: SysRoot, settings: LiveSettings) -> None:
    """Raise as `check_sight`, and where reclaim would touch other programs. It acts on whole cgroups, so it cannot be
    named with single processes, or with a cgroup whose memory is charged to the one above it."""
    check_sight(settings)
    if not settings.mover.kernel_demotes:
        return
    for group in settings.all_groups:
        if getattr(LIVE_POLICIES.get(group.policy), "demotes", False):
            raise UsageError(
                f"{group.policy} picks itself what it demotes: demotion '{settings.mover.demotion}' would do nothing",
                "use demotion auto, or another policy",
            )
    if not settings.apply:
        return
    if settings.targets.pids or not settings.targets.whole_cgroups:
        raise UsageError(
            f"demotion '{settings.mover.demotion}' acts on whole cgroups, but programs were chosen otherwise",
            "track a cgroup by its path (--cgroup PATH), or use demotion auto",
        )
    for cgroup in settings.targets.whole_cgroups:
        memory_cgroups(root, cgroup)


def check_goal(settings: LiveSettings) -> None:
    """Raise for a goal that no source can measure."""
    goal, sources = settings.mover.target, [LIVE_SOURCES.get(name) for name in settings.sources]
    if goal is None or goal.kind != "hot-on-fast" or any(map(sees_top_tier, sources)):
        return
    raise UsageError(
        f"the goal {goal} needs accesses on every tier, but {' and '.join(settings.sources)} sees none on the top one",
        "add a source that sees it, or use the goal fast-used",
    )


def check_left_out(settings: LiveSettings, topology: LiveTopology) -> None:
    """Raise where the kernel picks the node that pages are demoted to: it may be one that is left out."""
    if settings.mover.kernel_demotes and topology.left_out:
        node, why = next(iter(topology.left_out.items()))
        raise UsageError(
            f"demotion '{settings.mover.demotion}' lets the kernel choose nodes, but node {node} is left out: {why}",
            "use demotion auto, or name the node slow",
        )


def check_cpusets(root: SysRoot, settings: LiveSettings, topology: LiveTopology) -> None:
    """Raise for a cgroup that may have no memory on any top-tier node: the kernel would refuse every promotion."""
    if not settings.apply:
        return
    for cgroup in settings.targets.whole_cgroups:
        allowed = read_limits(root, cgroup).nodes
        if allowed is not None and not set(allowed) & set(topology.top_nodes):
            nodes = ", ".join(map(str, topology.top_nodes))
            raise UsageError(
                f"the cgroup {cgroup} may not have memory on the top tier (node {nodes})",
                f"add it: see cpuset.mems of {cgroup} and of the groups above it",
            )


def check_damos(root: SysRoot, settings: LiveSettings, topology: LiveTopology) -> None:
    """Raise for settings that the mover damos does not take, and where it cannot move anything."""
    if settings.mover.kind != "damos":
        return
    if settings.targets.whole_cgroups and settings.targets.pids:
        raise UsageError("the mover damos takes cgroups or pids, not both", "name one kind")
    if settings.mover.demotion not in ("auto", "off"):
        raise UsageError(
            f"the mover damos makes room itself, not by demotion '{settings.mover.demotion}'",
            "leave the demotion out, or give 'off'",
        )
    require("damos", kernel_needs(root, topology, bool(settings.targets.whole_cgroups)))
