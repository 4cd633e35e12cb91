"""One trace on one machine: everything that the runs of a comparison or a validation share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pghot.errors import UsageError, unknown_name
from pghot.lab.capacity import Sizing, TimeScale, choose_time_scale, size_nodes
from pghot.lab.comparison_setup import NodeSetup, Setup
from pghot.lab.contents import contents_of
from pghot.lab.epochs import Epochs, measure_epochs
from pghot.lab.metrics import node_shares, run_figures
from pghot.lab.outcomes import RunOutcome
from pghot.lab.parallelism import misses_in_flight
from pghot.lab.replay import Future, Run, new_run, replay
from pghot.lab.traces import trace_warnings
from pghot.parameters import check_several
from pghot.policies.runs_on import RunsOn, places
from pghot.recording.compressibility import compressibility_of
from pghot.recording.ratios import describe
from pghot.recording.trace import Trace
from pghot.rules import rule_named
from pghot.sim.compressed.node import Contents
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import Topology
from pghot.sim.policies import POLICIES
from pghot.sim.policies.interleave import deal_out
from pghot.sim.sources import SOURCES
from pghot.sim.sources.simulated_source import SimulatedSource, SourceSettings
from pghot.sim.user_space.live_loop import LiveLoop

PLACEMENTS = ("first-touch", "slow", "interleave", "bind:NODE")


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A policy with its options and the sources it listens to.

    access  name of the compressed node's access rule; None: the one in the tiers file
    where   one of the places where it can run (`policies.runs_on`); None: the one that an operator can have today
    """

    policy: str
    sources: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    source_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    access: str | None = None
    where: RunsOn | None = None

    def __post_init__(self) -> None:
        check_several("sources", self.sources)

    @property
    def label(self) -> str:
        """Policy, sources and, if they are named, the access rule and where it runs.

        `labels` tells apart the runs that share it.

        >>> RunSpec("pghot-default", ("chmu",), access="ro-cow").label
        'pghot-default/chmu [ro-cow]'
        >>> RunSpec("pghot-default", ("pebs",), where="to come").label
        'pghot-default/pebs [to come]'
        """
        mover = f"{self.policy}/{'+'.join(self.sources)}" if self.sources else self.policy
        return " ".join([mover, *(f"[{named}]" for named in (self.access, self.where) if named)])

    def places(self) -> tuple[RunsOn, ...]:
        """Where it can run: see `policies.runs_on.places`."""
        return places(POLICIES.get(self.policy), [SOURCES.get(name) for name in self.sources])

    @property
    def runs_on(self) -> RunsOn:
        """Where it runs."""
        return self.where or self.places()[0]

    def option_texts(self) -> list[str]:
        """The options as `--set` takes them: the policy's as NAME=VALUE, a source's as SOURCE.NAME=VALUE.

        >>> RunSpec("hemem", ("pebs",), {}, {"pebs": {"period_misses": 499}}).option_texts()
        ['pebs.period_misses=499']
        """
        own = [f"{name}={value}" for name, value in self.options.items()]
        return own + [
            f"{source}.{name}={value}"
            for source in self.sources
            for name, value in self.source_options.get(source, {}).items()
        ]


def labels(specs: Sequence[RunSpec]) -> list[str]:
    """A label for each run, no two the same: where runs would share one, it names the options in which they differ.

    >>> labels([RunSpec("hemem", ("pebs",)), RunSpec("hemem", ("pebs",), {}, {"pebs": {"period_misses": 499}})])
    ['hemem/pebs', 'hemem/pebs pebs.period_misses=499']
    """
    plain: list[str] = []
    for spec in specs:
        alike = [set(other.option_texts()) for other in specs if other.label == spec.label]
        shared = set.intersection(*alike)
        own = [text for text in spec.option_texts() if text not in shared]
        plain.append(f"{spec.label} {', '.join(own)}" if own else spec.label)
    # Options can differ and still print the same (1 and '1'): the later labels get a number.
    before = [plain[:place].count(label) for place, label in enumerate(plain)]
    return [f"{label} #{many + 1}" if many else label for label, many in zip(plain, before, strict=True)]


@dataclass(frozen=True, slots=True)
class Setting:
    """What all runs of a comparison share.

    fast_share   share of the footprint in the top tier; None: capacities as in the tiers file
    scale_time   how much faster kernel time runs; None: chosen from the sizes
    repeat       how many times the trace is played, one pass after another
    warmup       share of the slices that steady figures leave out; None: the first pass when there are
                 several, else a third
    page_bytes   4096, or the size of a folio that is tracked and moved as a whole
    placement    where first-touched pages go unless a policy says otherwise: "first-touch" (the toucher's
                 node, then its zonelist), "slow" (the lowest tier), "interleave" (by bandwidth) or "bind:NODE"
                 (that node alone, by its name in the tiers file, as numactl --membind)
    threads      cores that run the program; None: as recorded
    mlp          cache misses a core keeps in flight; None: as the trace says, else the cost model's default
    epoch_slices slices in an epoch; None: chosen by `lab.epochs.measure_epochs`
    """

    fast_share: float | None = 0.2
    scale_time: float | None = None
    repeat: int = 1
    warmup: float | None = None
    seeds: int = 1
    first_seed: int = 0
    page_bytes: int = 4096
    placement: str = "first-touch"
    threads: int | None = None
    mlp: float | None = None
    epoch_slices: int | None = None

    def __post_init__(self) -> None:
        checks = [
            (self.page_bytes >= 4096 and self.page_bytes & (self.page_bytes - 1) == 0,
             f"a folio (--folio) of {self.page_bytes} bytes does not exist", "give 4KiB or a larger power of two"),
            (1 <= self.repeat <= 10_000, f"the trace cannot be played {self.repeat} times (--repeat)",
             "give 1 to 10000"),
            (1 <= self.seeds <= 1000, f"cannot run with {self.seeds} seeds (--seeds)", "give 1 to 1000"),
            (self.warmup is None or 0 <= self.warmup < 1,
             f"a warm-up (--warmup) of {self.warmup} of the run cannot be left out", "give 0 or more, and less than 1"),
            (self.threads is None or 1 <= self.threads <= 65536,
             f"the program cannot have {self.threads} cores (--threads)", "give 1 to 65536"),
            (self.mlp is None or 1 <= self.mlp <= 1000,
             f"a core cannot keep {self.mlp} cache misses in flight (--mlp)", "give 1 to 1000"),
        ]  # fmt: skip
        for ok, message, hint in checks:
            if not ok:
                raise UsageError(message, hint)
        if self.placement not in PLACEMENTS and not self.placement.startswith("bind:"):
            raise unknown_name("placement", self.placement, list(PLACEMENTS))

    def warmup_share(self) -> float:
        if self.warmup is not None:
            return self.warmup
        return 1 / self.repeat if self.repeat > 1 else 1 / 3


class Bench:
    """One seed of a comparison: the trace, what it really accesses in each epoch, and what the runs are built from."""

    def __init__(
        self, trace: Trace, topology: Topology, setting: Setting, seed: int, epochs: Epochs | None = None
    ) -> None:
        """epochs: those of the trace, if they were measured before."""
        self.trace, self.topology, self.setting, self.seed = trace, topology, setting, seed
        self.epochs = epochs or measure_epochs(trace, setting.epoch_slices)
        if not self.epochs.epochs:
            why = "; ".join([f"'{trace.info.name}' has no slices to replay", *trace_warnings(trace)])
            raise UsageError(why, "record it again" if trace_warnings(trace) else "record for longer")
        page_bytes = trace.info.page_bytes
        self.sizing: Sizing = size_nodes(
            topology, self.epochs.footprint_pages, page_bytes, setting.fast_share
        )
        self.scale: TimeScale = choose_time_scale(setting.scale_time, self.sizing.shrink, trace.info.slice_ns)
        self.threads = setting.threads or trace.info.threads
        self.compressibility = describe(compressibility_of(trace))
        self.contents: Contents | None = None
        if (held := topology.compression) is not None:
            self.contents = contents_of(trace, held.device, seed)

    def play(self, specs: Sequence[RunSpec], progress: Callable[[float], None]) -> list[RunOutcome]:
        runs = [self._new_run(spec) for spec in specs]
        total = max(1, self.epochs.slices * self.setting.repeat)
        done = 0

        def advance(slices: int) -> None:
            nonlocal done
            done += slices
            progress(min(1.0, done / total))

        replay(runs, self.epochs, self.setting.repeat, self.top_pages(), advance)
        return [
            self._outcome(label, spec, run)
            for label, spec, run in zip(labels(specs), specs, runs, strict=True)
        ]

    def top_pages(self) -> int:
        return int(self.sizing.capacity_pages[list(self.topology.top_nodes())].sum())

    def _new_run(self, spec: RunSpec) -> Run:
        info = self.trace.info
        machine = SimulatedMachine(
            self._under(spec),
            self.trace.pages,
            info.page_bytes,
            self.sizing.capacity_pages,
            self.threads,
            self.setting.mlp or misses_in_flight(self.trace, self.topology.costs),
            scale=self.scale.factor,
            contents=self.contents,
            crews=info.nodes if info.synchronous else 1,
        )
        if info.nodes > len(self.topology.nodes):
            raise UsageError(
                f"'{info.name}' has accesses from {info.nodes} nodes, the tiers only {len(self.topology.nodes)}",
                "choose tiers with as many nodes",
            )
        future = Future(self.epochs, self.setting.repeat)
        world = LabWorld(
            machine=machine,
            pages=self.trace.pages,
            page_bytes=info.page_bytes,
            scale=self.scale.factor,
            seed=self.seed,
            foresight=future,
            regions=self.trace.regions,
        )
        policy = POLICIES.make(spec.policy, **spec.options)
        return new_run(
            LiveLoop(policy) if spec.runs_on == "user space" else policy,
            self._sources(spec),
            world,
            future,
            self._initial_placement,
        )

    def _under(self, spec: RunSpec) -> Topology:
        """The tiers with the run's access rule. Raises `UsageError` if it names one and no node compresses."""
        if spec.access is None:
            return self.topology
        return self.topology.with_compressed_node(access=rule_named(spec.access))

    def _sources(self, spec: RunSpec) -> list[SimulatedSource]:
        settings = SourceSettings(
            self.trace.pages,
            self.trace.info.page_bytes,
            len(self.topology.nodes),
            self.scale.factor,
            self.seed,
        )
        return [
            SOURCES.make(
                name, settings, **{**self._live_options(spec, name), **spec.source_options.get(name, {})}
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
        total = len(self.epochs.epochs) * self.setting.repeat
        return min(total - 1, round(total * self.setting.warmup_share()))

    def _outcome(self, label: str, spec: RunSpec, run: Run) -> RunOutcome:
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
            counters=all_counters(run.policy.counters(), [source.counters() for source in run.sources]),
            held_back=run.world.decisions.held_back(),
            samples=samples,
            access=held.access.name if (held := self._under(spec).compression) else None,
        )

    def setup(self) -> Setup:
        """What every result states along with its figures."""
        info, setting = self.trace.info, self.setting
        return Setup(
            trace=info.name,
            command=info.command,
            source=info.source,
            verification=info.verification,
            notes=info.notes,
            page_bytes=info.page_bytes,
            llc_bytes=info.llc_bytes,
            llc_ways=info.llc_ways,
            footprint_pages=self.epochs.footprint_pages,
            touches=self.epochs.touches * setting.repeat,
            misses=int(self.epochs.total.sum()) * setting.repeat,
            slices=self.epochs.slices,
            slice_ns=info.slice_ns,
            epoch_slices=self.epochs.epoch_slices,
            warmup_epochs=self.warmup_epochs(),
            epochs=len(self.epochs.epochs) * setting.repeat,
            repeat=setting.repeat,
            seeds=setting.seeds,
            first_seed=setting.first_seed,
            threads=self.threads,
            mlp=setting.mlp or info.mlp or self.topology.costs.mlp_random,
            fast_share=setting.fast_share,
            placement=setting.placement,
            tiers=self.topology.description,
            nodes=tuple(
                NodeSetup(node.name, rank, int(pages), node.latency_ns, node.bandwidth_gb_s)
                for node, rank, pages in zip(
                    self.topology.nodes, self.topology.ranks(), self.sizing.capacity_pages, strict=True
                )
            ),
            costs=self.topology.costs.model_dump(),
            curve={node.name: node.curve_name for node in self.topology.nodes},
            scale_time=self.scale.factor,
            scale_note=self.scale.note,
            compressibility=self.compressibility,
            contents=self.contents.note if self.contents else None,
            warnings=(
                *trace_warnings(self.trace),
                *self.topology.warnings(),
                *([self.contents.warning] if self.contents and self.contents.warning else []),
            ),
        )


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
