"""One round of the live side: sources report, addresses become dense pages, the policy acts on the machine.

`Live` owns everything that a run needs, but does not show anything: `pghot run`, `pghot record` and the daemon call
`tick` and read the counts.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from pghot.engine.accesses import Accesses, sees_top_tier
from pghot.errors import UsageError
from pghot.kernel.base_pages import base_page_needs
from pghot.kernel.cgroup import cgroup_inode
from pghot.kernel.knob_files import DEMOTION_ENABLED
from pghot.kernel.needs import require
from pghot.kernel.shortage import ShortageError
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import Watched
from pghot.live.budget import Budget
from pghot.live.damos.damos import Damos
from pghot.live.damos.plan import Planner
from pghot.live.decision_log.live_log import LiveLog
from pghot.live.decision_log.rows_file import RowsFile
from pghot.live.degraded import Degraded
from pghot.live.effect import Effect
from pghot.live.groups import Group, GroupMembers, LiveGroup
from pghot.live.journal import Journal
from pghot.live.kernel_moves import KernelMoves, refuse_kernel_promotion
from pghot.live.knobs import Knobs
from pghot.live.live_settings import (
    LiveSettings,
    check_cpusets,
    check_damos,
    check_demotion,
    check_goal,
    check_left_out,
    check_nodes,
    kinds_here,
    sections_for,
)
from pghot.live.machine.chosen_nodes import choose_nodes
from pghot.live.machine.fault_latency import FaultLatency
from pghot.live.machine.linux import LinuxMachine
from pghot.live.machine.nodes import LiveTopology, read_nodes
from pghot.live.machine.sections import SECTION_PAGES
from pghot.live.machine.spaces import Spaces
from pghot.live.machine.whole_cgroups import WholeCgroups, whole_cgroups
from pghot.live.own_cost import OwnCost, cpu_seconds
from pghot.live.slices import SliceRecorder
from pghot.live.sources import LIVE_SOURCES
from pghot.live.sources.access_source import AccessSource, HangsOnCgroup, Sightings
from pghot.live.swap_tier.setup import SWAP_SOURCE, compressed_tier
from pghot.live.swap_tier.tier import with_compressed
from pghot.live.troubles import by_hint_faults, see_hugetlb, troubles
from pghot.policies import LIVE_POLICIES
from pghot.policies.live_rules import unseen_is_cold
from pghot.policies.policy import Forgets, Policy, TellsHeat, World
from pghot.units import PAGE_BYTES, format_size

REFRESH_MS = 1000
# The survey of what the programs have takes 0.08 s for each GiB of resident 4 KiB pages. So long it may take before the
# first round, and in each round the share of --max-cpu, but this at least.
START_NS = 500_000_000
LEAST_SURVEY_NS = 1_000_000
# Writing the journal anew takes this share of the time, but so long in a round at least and at most.
REWRITE_SHARE, REWRITE_NS = 0.05, (1_000_000, 20_000_000)


class Live:
    """The live loop, one `tick` at a time. `start` first, `stop` always."""

    def __init__(
        self,
        root: SysRoot,
        settings: LiveSettings,
        journal: Journal | None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Raises `PghotError` for targets, sources or a policy that cannot be. Changes nothing yet."""
        self.settings = settings
        require("live", base_page_needs(root))
        check_demotion(root, settings)
        check_goal(settings)
        self.root, self._clock_ns, self.journal = root, clock_ns, journal
        groups = settings.all_groups
        self.members = GroupMembers(root, groups)
        self.members.check()
        self._pids: list[int] = []
        self.topology: LiveTopology = choose_nodes(root, read_nodes(root), settings.nodes)
        check_nodes(self.topology, settings.mover.compressed)
        check_left_out(settings, self.topology)
        check_cpusets(root, settings, self.topology)
        check_damos(root, settings, self.topology)
        self.knobs = Knobs(root, journal)
        self.sources: list[AccessSource] = [
            LIVE_SOURCES.make(name, root, **settings.options_of(name)) for name in settings.all_sources
        ]
        tier = self._tier = compressed_tier(root, settings.mover, self.topology, self.sources)
        if tier is not None:
            self.topology = with_compressed(self.topology, tier.swap)
        sections = sections_for(settings.tracked_bytes, self.topology)
        self.spaces = Spaces(root, sections, kinds_here(root, settings))
        self.machine = LinuxMachine(
            root,
            self.topology,
            self.spaces,
            settings.mover,
            apply=settings.apply,
            journal=journal,
            now_ns=clock_ns(),
            unseen_is_cold=unseen_is_cold(self.sources),
            cgroups=self._may_demote,
            set_knob=self.knobs.set,
            tier=tier,
        )
        self.damos = self._make_damos() if settings.mover.kind == "damos" else None
        self.groups = [self._start_group(each) for each in groups]
        self.faults = FaultLatency(sections)
        self.sighted: dict[str, int] = dict.fromkeys(settings.all_sources, 0)
        self._refreshed_ms, self._refresh_pause_ms = 0, 0.0
        self._started: list[AccessSource] = []
        self._damos_started = False
        self._surveys: Iterator[bool] = self._survey_all()
        self._surveyed_ns = self._ticked_ns = clock_ns()
        self.surveying = True
        self.recorder: SliceRecorder | None = None
        self._log: LiveLog | None = None
        self.cost = OwnCost()
        self.budget = Budget(settings.max_cpu_percent, clock_ns() / 1e9)
        self.kernel_moves = KernelMoves(root)
        self._began_ns = clock_ns()
        self.effect = Effect(root, settings.targets.only_cgroup, clock_ns() // 1_000_000)
        # What is wrong while this runs on, as of the last second, also after the end; empty when all is well.
        self.degraded: tuple[Degraded, ...] = ()
        self.programs_found = 0
        self._programs: set[int] = set()
        self._cgroup_inode = -1
        self._watch_again = False

    def keep_log(self, file: RowsFile) -> LiveLog:
        """Have the decisions of the first group's policy logged. The caller closes the log at the end."""
        group = self.groups[0]
        heat = group.policy.heat if isinstance(group.policy, TellsHeat) else None
        self._log = LiveLog(file, self.root, self.spaces, self.machine, len(self.sources), heat)
        group.world.decisions = self.machine.mover.watcher = self._log
        return self._log

    # ---- the loop

    def start(self) -> None:
        """Find the programs, write down where their pages are, start the sources. Call `stop` even after an error.

        What cannot be written down in half a second is left to the next rounds, and the sources start after it:
        whatever makes the kernel move pages comes after their origins.
        """
        self._refresh(self._clock_ns() // 1_000_000)
        self.machine.tick(self._clock_ns())
        if not self.settings.apply and by_hint_faults(self.sources):
            refuse_kernel_promotion(self.topology, self.machine.free_pages)
        if self._tier is not None and self.settings.apply and self.journal is not None:
            self.journal.compressed(self._tier.node)
        self._survey(START_NS)

    def tick(self) -> None:
        """One round. Raises `PghotError` when the journal cannot be written or the kernel refuses.

        What cannot be asked because pghot is out of descriptors is left as it was, for the next round: a program does
        not end by that. `degraded` says so.
        """
        now_ns = self._clock_ns()
        now_ms = now_ns // 1_000_000
        if now_ms - self._refreshed_ms >= max(REFRESH_MS, self._refresh_pause_ms):
            self._refresh(now_ms)
        with contextlib.suppress(ShortageError):
            self.machine.tick(now_ns)
        for group in self.groups:
            if group.machine is not self.machine:
                group.machine.pass_time(now_ns)
        if self.surveying:
            share = min(1.0, self.budget.max_cpu_percent / 100)
            self._survey(max(LEAST_SURVEY_NS, int((now_ns - self._surveyed_ns) * share)))
        for source in self._started:
            for sightings in _polled(source, now_ms):
                with contextlib.suppress(ShortageError):
                    self._take(source, sightings, now_ms)
        self._act(now_ms)
        if self.journal is not None:
            self.journal.go_on(int(np.clip((now_ns - self._ticked_ns) * REWRITE_SHARE, *REWRITE_NS)))
        self._ticked_ns = now_ns
        with contextlib.suppress(ShortageError):
            self.effect.tick(now_ms)
        if self.recorder is not None:
            self.recorder.tick(now_ns)
        if self.budget.tick(now_ns / 1e9):
            for source in self._started:
                source.set_effort(self.budget.effort)

    def stop(self) -> list[str]:
        """End the sources and put the knobs back; returns what could not be put back, in words."""
        problems = [problem for source in reversed(self._started) for problem in _stopped(source)]
        self._started = []
        self.spaces.stop_asking()
        damos = self.damos if self._damos_started else None
        self._damos_started = False
        if damos is not None:
            damos.stop()
        problems += self.knobs.restore()
        if self.machine.lru is not None:
            self.machine.lru.find_all()
        if damos is not None:
            damos.count()  # now that nothing moves any more
        return problems

    @property
    def alive(self) -> bool:
        """Whether any tracked program still runs."""
        return bool(self.spaces.spaces)

    @property
    def over(self) -> bool:
        """Whether the programs have ended and none can come that would be tracked."""
        return not self.alive and not self.settings.targets.fits_some

    @property
    def seconds(self) -> float:
        """How long this has been running."""
        return (self._clock_ns() - self._began_ns) / 1e9

    def marked(self) -> str:
        """How often hint faults found the hottest memory marked again: of the program where that was most often, and of
        the one where it was least often."""
        measured = [self.faults.interval_ms(space.number) for space in self.spaces.spaces]
        known = [interval for interval in measured if interval < math.inf]
        if not known:
            return ""
        least, most = f"{min(known):.0f}", f"{max(known):.0f}"
        return (
            f"; the hottest memory every {least if least == most else f'{least} to {most}'} ms, as measured"
        )

    def unscanned_bytes(self) -> int:
        """Memory of the programs that a source in use cannot see, because hint faults spare memory under a policy."""
        return self.spaces.unscanned_bytes() if by_hint_faults(self.sources) else 0

    def unseen_hugetlb_bytes(self) -> int:
        """Hugetlb memory that may be moved, while no source in use can see it."""
        return 0 if see_hugetlb(self.sources) else self.spaces.objects.pooled_bytes()

    def tracking_bytes(self) -> int:
        """Bytes that tracking takes for the sections in use, and the tables beside them."""
        section_bytes = len(self.spaces.table) * SECTION_PAGES * (self.spaces.pages.bytes_per_page() + 1)
        share = len(self.spaces.table) / self.spaces.table.sections
        return section_bytes + self.spaces.table.bytes_total() + int(self.tracker_bytes() * share)

    def tracker_bytes(self) -> int:
        """Bytes that the policies' records take when all sections are in use."""
        return sum(group.policy.tracker_bytes() for group in self.groups)

    # ---- parts of a round

    def _start_group(self, told: Group) -> LiveGroup:
        machine = self.machine.beside(told.rate_limit_mb_s) if self.settings.groups else self.machine
        world = world_of(machine, self.spaces)
        policy: Policy[World] = LIVE_POLICIES.make(told.policy, **told.policy_options)
        policy.start(world)
        return LiveGroup(told.name, policy, machine, world)

    def _survey(self, most_ns: int) -> None:
        """Look where the pages of the programs are, for so long at most, and start everything else at the end."""
        until_ns = self._clock_ns() + most_ns
        for looked in self._surveys:
            if not looked or self._clock_ns() >= until_ns:
                self._surveyed_ns = self._clock_ns()
                return
        self.surveying = False
        if self.settings.apply and self.settings.mover.kernel_demotes:
            self.knobs.set(DEMOTION_ENABLED, "true")
        for source in self.sources:
            self._started.append(source)
            source.start(self._watched(), self.knobs.set)
            if self.budget.effort < 1:
                source.set_effort(self.budget.effort)
        if self.damos is not None:
            self.damos.start(self.knobs.set)
            self._damos_started = True

    def _survey_all(self) -> Iterator[bool]:
        """True after each step, False when nothing can be done before the next refresh: not before it is known what is
        movable."""
        left = [space.number for space in self.spaces.spaces]
        while left:
            known = [number for number in left if self.spaces.knows_policies(number)]
            for number in known:
                if (space := self.spaces.space(number)) is not None:
                    for _ in self.machine.survey(space):
                        yield True
            left = [number for number in left if number not in known]
            if left:
                yield False

    def _take(self, source: AccessSource, sightings: Sightings, now_ms: int) -> None:
        """Turn sightings into accesses of dense pages and hand them to the policy."""
        if len(sightings) == 0:
            return
        self.sighted[source.name] += len(sightings)
        page, movable = self.spaces.lookup(sightings.pid, sightings.address)
        at = np.flatnonzero(movable)
        if len(at) == 0:
            return
        page = page[at]
        if source.sees != "regions":  # a region counts for each of its pages
            page = self.machine.placement.folded(page)
        self.machine.locate(page)
        if self.topology.left_out:
            inside = self.machine.takes_part(page)
            self.spaces.skipped["left_out"] += len(page) - int(np.count_nonzero(inside))
            page, at = page[inside], at[inside]
        below = self.machine.below_top[self.machine.place[page]]
        seen = sightings.count[at]
        lower = int((seen * below).sum())
        on_top = int(seen.sum()) - lower
        self.effect.saw(sees_top_tier(source), on_top, lower)
        if (goal := self.machine.pace.goal) is not None and sees_top_tier(source):
            goal.saw(on_top, lower)
        if sightings.hint_fault:
            space, _ = self.spaces.table.where(page)
            seen = self.faults.counts(page, space, below, now_ms)
        count = seen * np.uint32(source.weight)
        if self._tier is not None and source.name != SWAP_SOURCE:
            # A page in swap was not used, or it would have come back. The source saw a neighbour in the same region.
            inside = self.machine.in_memory(page)
            page, count, at = page[inside], count[inside], at[inside]
        if self._log is not None:
            self._log.saw(self.sources.index(source), page, sightings.count[at])
        self.spaces.pages.saw(page, count)
        if self.recorder is not None:
            self.recorder.saw(page, count, sightings.write[at])
        node = sightings.node[at]
        for number, its in self.members.split(sightings.pid[at]):
            group = self.groups[number]
            accesses = Accesses(page[its], node[its], count[its], now_ms, sightings.hint_fault)
            group.policy.observe(group.world, source, accesses)

    def _act(self, now_ms: int) -> None:
        """Let the policies and the mover damos move pages."""
        for group in self.groups:
            with contextlib.suppress(ShortageError):
                group.policy.act(group.world)
        with contextlib.suppress(ShortageError):
            if self.damos is not None and self._damos_started:
                self.damos.tick(now_ms)
            self.machine.demote_cold()

    def _refresh(self, now_ms: int) -> None:
        began_s = cpu_seconds()
        with contextlib.suppress(ShortageError):
            self._look_at_programs(now_ms)
        self.degraded = tuple(
            troubles(
                self.root,
                self.settings,
                knobs=self.knobs,
                spaces=self.spaces,
                machine=self.machine,
                sources=self.sources,
                started=self._started,
                journal=self.journal,
                now_ms=self._clock_ns() // 1_000_000,
            )
        )
        self._refreshed_ms, self._refresh_pause_ms = now_ms, self.budget.pause_ms(cpu_seconds() - began_s)

    def _look_at_programs(self, now_ms: int) -> None:
        self._pids = self.members.now()
        changes = self.spaces.refresh(self._pids)
        programs = {space.number for space in self.spaces.spaces}
        self.programs_found += len(programs - self._programs)
        self._programs = programs
        if self._log is not None:
            self._log.forget(changes.forgotten)
        for pages in changes.forgotten:
            gone = np.arange(pages.start, pages.stop, dtype=np.uint32)
            for group in self.groups:
                if isinstance(group.policy, Forgets):
                    group.policy.forget(gone)
        if self.journal is not None:
            self.journal.look(self.spaces.identities())
        self._follow_cgroup()
        if changes.any or self._watch_again:
            self._watch_again = True  # unless all sources know
            for source in self._started:
                source.watch(self._watched())
            self._watch_again = False
        if self._damos_started and self.damos is not None:
            self.damos.refresh(now_ms)

    def _follow_cgroup(self) -> None:
        """A cgroup of the same name with another inode is a new one: what sources opened hangs on the old one."""
        cgroup = self.settings.targets.only_cgroup
        inode = cgroup_inode(self.root, cgroup) if cgroup else -1
        if inode in (-1, self._cgroup_inode):
            return
        with contextlib.suppress(UsageError, ShortageError):  # it is gone again, or cannot be opened now
            for source in self._started:
                if isinstance(source, HangsOnCgroup):
                    source.reopen(self._watched())
                    source.set_effort(self.budget.effort)
            self._cgroup_inode = inode

    def _may_demote(self) -> WholeCgroups:
        """Where the kernel may pick what goes down. Its demotion does not heed policies of memory (demote_folio_list,
        mm/vmscan.c, Linux 6.12), so it must be named where owners have set one."""
        bound = self.spaces.bound_bytes()
        if self.settings.mover.demotion == "auto" and bound:
            why = f"{format_size(bound)} of the programs' memory is bound to nodes, which the kernel does not heed"
            return WholeCgroups(trouble=f"{why}; name lru_gen and a cgroup if it may go down")
        if self.settings.mover.demotion == "auto" and self.spaces.policy_unknown_bytes():
            return WholeCgroups(
                trouble="it is still being asked which of the programs' memory is bound to nodes"
            )
        return whole_cgroups(self.root, self._pids)

    def _make_damos(self) -> Damos:
        mover, machine = self.settings.mover, self.machine
        planner = Planner(
            topology=self.topology,
            settings=self.settings.damos,
            rate_mb_s=mover.rate_limit_mb_s,
            demote=mover.demotion != "off",
            floor_pages=machine.floor_pages.tolist(),
            release=self.root.release(),
            apply=self.settings.apply,
        )
        return Damos(
            self.root,
            planner,
            self.spaces,
            placement=machine.placement,
            mover=machine.mover,
            room=machine.nodes,
            journal=self.journal,
            cgroups=self.settings.targets.whole_cgroups,
        )

    def _watched(self) -> Watched:
        return Watched(self.spaces.spaces, self.settings.targets.only_cgroup)


def _polled(source: AccessSource, now_ms: int) -> Sequence[Sightings]:
    try:
        return source.poll(now_ms)
    except ShortageError:
        return ()  # what it did not read yet it reads at the next


def _stopped(source: AccessSource) -> list[str]:
    """End a source. One of another package may fail in any way; the others must still end and the knobs be put back."""
    try:
        source.stop()
    except Exception as error:
        return [f"the source {source.name} did not end well: {type(error).__name__}: {error}"]
    return []


def world_of(machine: LinuxMachine, spaces: Spaces) -> World:
    return World(
        machine=machine,
        pages=spaces.table.pages,
        page_bytes=PAGE_BYTES,
        group_pages=1.0,
        seed=0,
    )
