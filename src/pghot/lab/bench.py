"""One trace on one machine: everything that the runs of a comparison or a validation share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pghot.decision_log.row_format import SCHEMA as LOG_SCHEMA
from pghot.errors import UsageError, unknown_name
from pghot.lab.capacity import size_nodes
from pghot.lab.comparison_setup import NodeSetup, Sample, Setup, Timing
from pghot.lab.contents import contents_of
from pghot.lab.dealt import dealt, processes_for
from pghot.lab.decision_log.log_file import part_path
from pghot.lab.decision_log.run_log import RunLog
from pghot.lab.epochs import Epochs, measure_epochs
from pghot.lab.future import Future
from pghot.lab.metrics import node_shares, run_figures
from pghot.lab.outcomes import RunOutcome
from pghot.lab.page_sample import SampledTrace
from pghot.lab.parallelism import misses_in_flight
from pghot.lab.phases import hold_phases, parts_to_hold
from pghot.lab.probe import Probe, probe
from pghot.lab.regions_on_top import RegionsOnTop, region_names
from pghot.lab.replay import Run, new_run, replay
from pghot.lab.run_spec import RunSpec, labels
from pghot.lab.schedule import Schedule
from pghot.lab.setting import Setting
from pghot.lab.similarity import similarity
from pghot.lab.spread import spread_over
from pghot.lab.traces import trace_warnings
from pghot.policies.decisions import DecisionCounts
from pghot.policies.granularity import granularity_of
from pghot.policies.policy import TellsHeat
from pghot.policies.sampling_period import own_period, own_tiers
from pghot.recording.compressibility import compressibility_of
from pghot.recording.header import regions_to_facts
from pghot.recording.ratios import describe
from pghot.recording.trace import Trace, pages_by_space
from pghot.rules import rule_named
from pghot.sim.compressed.node import Contents
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.movers import POLICYS_OWN, mover_named
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import Topology
from pghot.sim.moved_by import MovedBy
from pghot.sim.policies import POLICIES
from pghot.sim.policies.interleave import deal_out
from pghot.sim.sources import SOURCES
from pghot.sim.sources.simulated_source import SimulatedSource, SourceSettings
from pghot.sim.user_space.live_loop import LiveLoop
from pghot.version import __version__

RUN_SLICE_S = 3e-4  # a slice of one run takes about so long (measured)
EPOCH_MS = 1000.0  # an epoch lasts at least so long when nothing moves, or a whole pass


class Bench:
    """One seed of a comparison: the trace, what it really accesses in each epoch, and what the runs are built from."""

    def __init__(
        self, trace: Trace, topology: Topology, setting: Setting, seed: int, epochs: Epochs | None = None
    ) -> None:
        """epochs: those of the trace, if they were measured before."""
        self.recorded = trace
        if setting.spread:
            trace = spread_over(trace, len(topology.with_cpus()), seed)
        self.trace = trace
        self.topology, self.setting, self.seed = topology, setting, seed
        self.epochs = epochs or measure_epochs(trace, setting.epoch_slices)
        if not self.epochs.epochs:
            why = "; ".join([f"'{trace.info.name}' has no slices to replay", *trace_warnings(trace)])
            raise UsageError(why, "record it again" if trace_warnings(trace) else "record for longer")
        info = trace.info
        if info.nodes > len(topology.nodes):
            raise UsageError(
                f"'{info.name}' has accesses from {info.nodes} nodes, the tiers only {len(topology.nodes)}",
                "choose tiers with as many nodes",
            )
        spaces = pages_by_space(trace.regions, trace.pages)
        self._spaces = spaces if len(spaces) > 1 else ()
        self.sample = self.recorded if isinstance(self.recorded, SampledTrace) else None
        self.similar = similarity(
            info,
            topology,
            self.sample.whole_pages if self.sample else self.epochs.footprint_pages,
            setting.stands_for,
            setting.times,
            setting.threads,
            self.epochs.footprint_pages,
        )
        self.group_pages = self.similar.group_pages
        self.capacity_pages = size_nodes(
            topology, self.epochs.footprint_pages, info.page_bytes * self.group_pages, setting.fast_share
        )
        self.compressibility = describe(compressibility_of(trace))
        self.contents: Contents | None = None
        if (held := topology.compression) is not None:
            self.contents = contents_of(trace, held.device, seed)
        self._in_flight = setting.mlp or misses_in_flight(self.recorded, topology.costs)
        self.probed = self._probe()
        self.parts = 1
        if setting.phases == "hold":
            self._hold_phases()
        if setting.epoch_slices is None:
            self.epochs = self.epochs.longer(
                math.ceil(EPOCH_MS / max(self.probed.slice_kernel_ms.mean(), 1e-6))
            )
        self._regions = region_names(self.trace.regions, self.epochs.total)
        duration_s = setting.duration_s
        if self.similar.measured and duration_s is not None:
            duration_s = self.epochs.slices * info.slice_ns / 1e9
        self.schedule = Schedule(
            self.epochs,
            self.probed.slice_kernel_ms,
            slice_ms=setting.slice_ms,
            duration_s=duration_s,
            seed=seed,
            nodes=nodes_of(topology, info.nodes),
        )

    def _hold_phases(self) -> None:
        """Let a pass last as long as it was recorded: play a part of it at a time."""
        lasts_s = float(self.probed.slice_kernel_ms.sum()) / 1e3
        self.parts = parts_to_hold(lasts_s, self.epochs.slices * self.trace.info.slice_ns / 1e9)
        if self.parts > 1:
            self.trace = hold_phases(self.trace, self.parts, self.seed)
            self.epochs = measure_epochs(self.trace, self.setting.epoch_slices, 60 * self.parts)
            self.probed = self._probe()

    def _probe(self) -> Probe:
        """One pass in which nothing moves.

        Where a tenant is killed, the rest of its accesses do not happen. Then the probe has fast memory for all.
        """
        machine = self._machine(self.topology)
        self._initial_placement(machine)
        found = probe(machine, self.epochs)
        if machine.compressed is None or not machine.compressed.counts.killed:
            return found
        machine = self._machine(self.topology)
        machine.set_capacity(machine.top_nodes[0], 2 * self.trace.pages)
        machine.preferred[:] = machine.top_nodes[0]
        return probe(machine, self.epochs)

    def play(
        self,
        specs: Sequence[RunSpec],
        progress: Callable[[float], None],
        workers: int = 1,
        logs: Path | None = None,
    ) -> list[RunOutcome]:
        """The outcome of each run, dealt over at most `workers` processes: fewer where that would not pay.

        logs  a folder that gets the log of each run, see `decision_log.log_file`; None: none is kept
        """
        named = any(spec.mover for spec in specs)
        names = labels(specs)

        def part(
            labelled: Sequence[tuple[str, RunSpec]], progress: Callable[[float], None]
        ) -> list[RunOutcome]:
            runs = [
                self._new_run(spec, label, logs and part_path(logs, names.index(label)))
                for label, spec in labelled
            ]
            replay(runs, self.epochs, self.schedule, self.top_pages(), progress)
            for (label, spec), run in zip(labelled, runs, strict=True):
                if run.log is not None:
                    run.log.close(spec.facts(label))
            return [
                self._outcome(label, spec, run, (spec.mover or POLICYS_OWN) if named else None)
                for (label, spec), run in zip(labelled, runs, strict=True)
            ]

        processes = processes_for(self.work_s(len(specs)), workers)
        return dealt(list(zip(names, specs, strict=True)), processes, part, progress)

    def work_s(self, runs: int) -> float:
        """About how long one process takes to play so many runs."""
        return runs * self.schedule.slices * self.schedule.passes * RUN_SLICE_S

    def top_pages(self) -> int:
        return int(self.capacity_pages[list(self.topology.top_nodes())].sum())

    def _machine(self, topology: Topology, folio_bytes: int = 0) -> SimulatedMachine:
        info = self.trace.info
        return SimulatedMachine(
            topology,
            self.trace.pages,
            info.page_bytes,
            self.capacity_pages,
            self.similar.threads,
            self._in_flight,
            group_pages=self.group_pages,
            contents=self.contents,
            crews=info.nodes if info.synchronous else 1,
            folio_bytes=folio_bytes,
            seed=self.seed,
        )

    def _new_run(self, spec: RunSpec, label: str, log_path: Path | None) -> Run:
        machine = self._machine(self._under(spec), granularity_of(POLICIES.get(spec.policy)))
        future = Future(self.epochs, self.schedule, partial(self._machine, self._under(spec)))
        policy, sources = POLICIES.make(spec.policy, **spec.options), self._sources(spec)
        log = None
        if log_path is not None:
            heat = policy.heat if isinstance(policy, TellsHeat) else None
            log = machine.watcher = RunLog(log_path, label, machine, len(sources), heat)
        world = LabWorld(
            machine=machine,
            pages=self.trace.pages,
            page_bytes=self.trace.info.page_bytes,
            group_pages=self.group_pages,
            seed=self.seed,
            foresight=future,
            regions=self.trace.regions,
            decisions=log or DecisionCounts(self.group_pages),
        )
        if spec.runs_on == "user space":
            policy = LiveLoop(policy, sources)
        elif spec.mover is not None and (mover := mover_named(spec.mover)) is not None:
            policy = MovedBy(policy, mover, sources)
        return new_run(
            policy,
            sources,
            world,
            future,
            self._initial_placement,
            RegionsOnTop(self._regions, machine, self.warmup_epochs()),
            log,
        )

    def _under(self, spec: RunSpec) -> Topology:
        """The tiers with the run's access rule. Raises `UsageError` if it names one and no node compresses."""
        if spec.access is None:
            return self.topology
        return self.topology.with_compressed_node(access=rule_named(spec.access))

    def _sources(self, spec: RunSpec) -> list[SimulatedSource]:
        page_bytes = self.trace.info.page_bytes
        unit = max(1.0, granularity_of(POLICIES.get(spec.policy)) / page_bytes)
        settings = SourceSettings(
            self.trace.pages,
            page_bytes,
            len(self.topology.nodes),
            group_pages=self.group_pages,
            seed=self.seed,
            threads=self.similar.threads,
            unit_pages=min(self.group_pages, unit),
            spaces=self._spaces,
        )
        return [
            SOURCES.make(
                name,
                settings,
                **{
                    **self._live_options(spec, name),
                    **own_period(POLICIES.get(spec.policy), SOURCES.get(name)),
                    **own_tiers(POLICIES.get(spec.policy), SOURCES.get(name)),
                    **spec.source_options.get(name, {}),
                },
            )
            for name in spec.sources
        ]

    def _live_options(self, spec: RunSpec, name: str) -> Mapping[str, Any]:
        """The options with which a source of the lab is what its live twin is, where the run is in user space."""
        return getattr(SOURCES.get(name), "live_options", {}) if spec.runs_on == "user space" else {}

    def _initial_placement(self, machine: SimulatedMachine) -> None:
        if self.setting.placement == "slow":
            below = machine.demotion_targets[machine.top_nodes[0]]
            slower = [node for node in below if not machine.private[node]]
            if not slower:
                raise UsageError(
                    "placement 'slow' needs a slower tier that programs can be placed on",
                    "check the latencies of the tiers file; a node that compresses takes demotions only",
                )
            machine.preferred[:] = slower[-1]
        elif self.setting.placement == "interleave":
            deal_out(machine)
        elif self.setting.placement.startswith("bind:"):
            machine.preferred[:] = self._bound_node(machine, self.setting.placement.removeprefix("bind:"))

    def _bound_node(self, machine: SimulatedMachine, name: str) -> int:
        names = [node.name for node in self.topology.nodes]
        if name not in names:
            raise unknown_name("node", name, names)
        node = names.index(name)
        if machine.private[node]:
            raise UsageError(f"node '{name}' compresses: it takes demotions only", "bind to another node")
        if machine.room(node) < self.epochs.footprint_pages:
            raise UsageError(
                f"node '{name}' is too small to bind a program of {self.epochs.footprint_pages} pages to",
                "bind to a larger node, or choose another placement",
            )
        return node

    def warmup_epochs(self) -> int:
        """Epochs that steady figures leave out."""
        total = self.schedule.epochs
        return min(total - 1, round(total * self.setting.warmup_share()))

    def _outcome(self, label: str, spec: RunSpec, run: Run, mover: str | None) -> RunOutcome:
        samples = run.measures.samples
        return RunOutcome(
            label=label,
            policy=spec.policy,
            kind=run.policy.kind,
            runs_on=spec.runs_on,
            sources=spec.sources,
            options=tuple(spec.option_texts()),
            seed=self.seed,
            figures=run_figures(run, self.warmup_epochs(), self.epochs.footprint_pages),
            node_shares=node_shares(samples, [node.name for node in self.topology.nodes]),
            sampling=tuple(source.sampling() for source in run.sources),
            counters=self._real(
                all_counters(run.policy.counters(), [source.counters() for source in run.sources])
            ),
            held_back=run.world.decisions.held_back(),
            samples=samples,
            regions=run.regions.result(),
            mover=mover,
            access=held.access.name if (held := self._under(spec).compression) else None,
        )

    def _real(self, counters: Mapping[str, int]) -> dict[str, int]:
        """Counters of the real system: each page and each event stands for K."""
        return {name: round(count * self.group_pages) for name, count in counters.items()}

    def log_facts(self, digest: str) -> dict[str, Any]:
        """What the log of decisions says of the comparison. digest: of the recording; empty: it is none."""
        info = self.trace.info
        return {
            "schema": LOG_SCHEMA,
            "version": __version__,
            "trace": info.name,
            "digest": digest,
            "tiers": self.topology.description,
            "nodes": [
                {"name": node.name, "rank": rank}
                for node, rank in zip(self.topology.nodes, self.topology.ranks(), strict=True)
            ],
            "seed": self.seed,
            "page_bytes": info.page_bytes,
            "pages": self.trace.pages,
            "group_pages": self.group_pages,
            "regions": regions_to_facts(self.trace.regions),
        }

    def setup(self) -> Setup:
        """What every result states along with its figures."""
        info, setting, schedule = self.trace.info, self.setting, self.schedule
        real = self.group_pages * schedule.passes
        return Setup(
            trace=info.name,
            command=info.command,
            source=info.source,
            verification=info.verification,
            notes=info.notes,
            page_bytes=info.page_bytes,
            llc_bytes=info.llc_bytes,
            llc_ways=info.llc_ways,
            footprint_pages=round(self.epochs.footprint_pages * self.group_pages),
            touches=round(self.epochs.touches * real),
            misses=round(int(self.epochs.total.sum()) * real),
            slices=self.epochs.slices,
            slice_ns=info.slice_ns,
            epoch_slices=self.epochs.epoch_slices,
            warmup_epochs=self.warmup_epochs(),
            epochs=schedule.epochs,
            seeds=setting.seeds,
            first_seed=setting.first_seed,
            similarity=self.similar,
            timing=Timing(
                passes=schedule.passes * self.parts,
                pass_s=schedule.pass_s / self.parts,
                phases=setting.phases,
                slice_ms=setting.slice_ms,
                slices=round(schedule.slices / self.parts),
                cut=schedule.cut,
                joined=schedule.joined,
            ),
            mlp=setting.mlp or info.mlp or self.topology.costs.mlp_random,
            fast_share=setting.fast_share,
            placement=setting.placement,
            tiers=self.topology.description,
            nodes=tuple(
                NodeSetup(
                    node.name,
                    rank,
                    round(pages * self.group_pages),
                    node.latency_ns,
                    node.bandwidth_gb_s,
                    round(float(used), 4),
                )
                for node, rank, pages, used in zip(
                    self.topology.nodes,
                    self.topology.ranks(),
                    self.capacity_pages,
                    self.probed.used_share,
                    strict=True,
                )
            ),
            costs=self.topology.costs.model_dump(),
            curve={node.name: node.curve_name for node in self.topology.nodes},
            compressibility=self.compressibility,
            contents=self.contents.note if self.contents else None,
            sample=Sample(self.sample.pages, self.sample.whole_pages) if self.sample else None,
            warnings=(
                *trace_warnings(self.recorded),
                *self.topology.warnings(),
                *([self.similar.warning()] if self.similar.warning() else []),
                *([told] if self.sample and (told := self.sample.warning()) else []),
                *([self.contents.warning] if self.contents and self.contents.warning else []),
            ),
        )


def nodes_of(topology: Topology, nodes: int) -> tuple[int, ...]:
    """The machine's node for each of the `nodes` that a trace has accesses from: those with CPUs, in order."""
    able = topology.with_cpus()
    return able[:nodes] if nodes <= len(able) else tuple(range(nodes))


def all_counters(policy: Mapping[str, int], sources: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """The counters of a run: those of its sources added up, and those that only the policy has.

    Each source counts its own events, so a counter that several sources have (`hwhint_total_events` of ibs and pebs) is
    their sum. A policy counts what it did with these events. A counter that it shares with a source
    (`numa_hint_faults` of numab2 and hintfaults) counts the events that it got from this source: they are not added.

    >>> all_counters({"heard": 5, "moved": 1}, [{"heard": 2}, {"heard": 3}])
    {'heard': 5, 'moved': 1}
    """
    seen: Counter[str] = Counter()
    for source in sources:
        seen.update(source)
    return {**policy, **seen}
