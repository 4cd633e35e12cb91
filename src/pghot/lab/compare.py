"""`compare`: one trace, one machine, many policies; figures for each and a verdict on them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pghot.errors import UsageError, unknown_name
from pghot.lab.bench import Bench
from pghot.lab.bounds import TraceBounds, trace_bounds
from pghot.lab.comparison_setup import Setup
from pghot.lab.compile_beside import compiling_beside
from pghot.lab.decision_log.log_file import log_of
from pghot.lab.outcomes import RunOutcome
from pghot.lab.played import played_traces
from pghot.lab.results import Comparison, collect
from pghot.lab.run_spec import RunSpec
from pghot.lab.setting import Setting, checked_setting
from pghot.lab.traces import digest_of
from pghot.parameters import check_kind, check_several
from pghot.policies.granularity import granularity_of
from pghot.policies.options import parse_options
from pghot.policies.runs_on import CLASSES, RunsOn
from pghot.recording.bytesource import is_uri
from pghot.recording.trace import Trace
from pghot.rules import rule_named, warnings_of
from pghot.sim.machine.movers import POLICYS_OWN, Mover, mover_named
from pghot.sim.machine.topology import Topology, load_topology
from pghot.sim.policies import POLICIES, expand
from pghot.sim.sources import SOURCES

__all__ = ["BASELINES", "Comparison", "RunSpec", "Setting", "compare", "plan_runs"]

BASELINES = ("none", "all-fast")
# What released kernels offer to a policy that takes any source; CPUs add their own sampling.
KERNEL_SOURCES = ("hintfaults", "abit")
CPU_SOURCES = {"amd": "ibs", "intel": "pebs"}
# How a device that compresses can help to promote its pages: its hotness unit names the hot ones (docs/FACTS.md 6).
DEVICE_MOVER = RunSpec("pghot-default", ("chmu",))
Progress = Callable[[int, int], None]


def default_sources(topology: Topology) -> tuple[str, ...]:
    """What policies that take any source listen to when none is named: the kernel's sources and the CPU's.

    Tiers that do not say who made the CPUs get PEBS.
    """
    return (*KERNEL_SOURCES, CPU_SOURCES[topology.cpu_vendor or "intel"])


def plan_runs(
    policies: Sequence[str], sources: Sequence[str], classes: Sequence[str] = (), movers: Sequence[str] = ()
) -> list[RunSpec]:
    """The runs that `--policies`, `--sources` and `--movers` ask for; the baselines are always among them.

    sources  for policies that take any: one run with each, or with several together if they are joined by "+";
             "all" stands for every source
    classes  names of `policies.runs_on.CLASSES`: every run in each of these that it can be in. Empty: each run once,
             as an operator can have it today, or else as it may come
    movers   names of `sim.machine.movers.NAMES`: every policy that moves pages with each of these. Empty: its own mover
    """
    chosen = _expand_sources(sources)
    specs = []
    for name in dict.fromkeys([*BASELINES, *expand(policies)]):
        policy = POLICIES.get(name)
        if policy.any_source:
            specs += [RunSpec(name, tuple(group.split("+"))) for group in chosen]
        else:
            specs.append(RunSpec(name, policy.default_sources))
    moved = _with_movers(specs, [mover_named(name) for name in movers])
    planned = _in_classes(moved, [class_named(name) for name in classes])
    for name in movers:
        if name != POLICYS_OWN and all(spec.mover != name for spec in planned):
            raise UsageError(
                f"no policy moved by '{name}' (--movers) runs in these classes",
                "add to-come to --classes, or leave --classes out",
            )
    return planned


def _with_movers(specs: Sequence[RunSpec], movers: Sequence[Mover | None]) -> list[RunSpec]:
    """The runs of policies that move pages by each of these movers, None being the policy's own; the others once.

    Raises `UsageError` when there are movers and nothing to move.
    """
    if not movers:
        return list(specs)
    names = dict.fromkeys(mover.name if mover else None for mover in movers)
    able = [POLICIES.get(spec.policy).kind == "mover" for spec in specs]
    if not any(able):
        raise UsageError(
            "none of these policies chooses pages to move: there is no mover to choose (--movers)",
            "add one that does to --policies, such as numab2, or leave --movers out",
        )
    return [
        replace(spec, mover=name)
        for spec, moves in zip(specs, able, strict=True)
        for name in (names if moves else (None,))
    ]


def class_named(name: str) -> RunsOn:
    """The class of runs with this name; a dash is as good as a space. Raises `UsageError` for an unknown one.

    >>> class_named("user-space")
    'user space'
    """
    for known in CLASSES:
        if name.replace("-", " ") == known:
            return known
    raise unknown_name("class of runs", name, [known.replace(" ", "-") for known in CLASSES])


def _in_classes(specs: Sequence[RunSpec], classes: Sequence[RunsOn]) -> list[RunSpec]:
    """The runs in each of the classes. Baselines and yardsticks stay: the others are judged by them."""
    if not classes:
        return list(specs)
    found = []
    for spec in specs:
        able = spec.places()
        if spec.policy in BASELINES or able == ("nowhere",):
            found.append(spec)
        found += [
            replace(spec, where=place) if len(able) > 1 else spec
            for place in able
            if place in classes and spec not in found
        ]
    return found


def _expand_sources(sources: Sequence[str]) -> list[str]:
    groups = [name for group in sources for name in (SOURCES.names() if group == "all" else [group])]
    known = SOURCES.names()
    for group in groups:
        names = group.split("+")
        if len(set(names)) < len(names):
            raise UsageError(
                f"--sources {group} names a source twice: it would count twice", "name each source once"
            )
        for name in names:
            if name not in known:
                raise unknown_name("source", name, [*known, "all"])
    return list(dict.fromkeys(groups))


def compare(
    recording: str | Path | Trace,
    tiers: str | Path | Topology = "dram-cxl",
    policies: Sequence[str | RunSpec] = ("all",),
    sources: Sequence[str] = (),
    *,
    setting: Setting | None = None,
    bounds: bool = False,
    options: Sequence[str] = (),
    access: Sequence[str] = (),
    classes: Sequence[str] = (),
    movers: Sequence[str] = (),
    workers: int = 1,
    progress: Progress = lambda done, total: None,
    log: str | Path | None = None,
    **settings: Any,
) -> Comparison:
    """Replay `recording` over simulated `tiers` under each policy.

    recording  a path, "bundled:NAME", "workload:NAME", "masim:FILE" or any `Trace`
    policies   names or groups ("all", "pghot", "oracles"), or `RunSpec`s for full control
    sources    see `plan_runs`; none: `default_sources`
    settings   fields of `Setting`
    options    "NAME.OPTION=VALUE" for planned policies and their sources, see `policies.options`
    access     names of access rules (`pghot.rules.RULES`): every policy runs under each. Empty: the tiers' own
    classes, movers  see `plan_runs`
    workers    the most processes that replay side by side; they are forked, and give the results that one would
    bounds     also run the LRU and CLOCK page caches of `lab.bounds`, once for each seed
    progress   called with (done, total), in thousandths
    log        a new file for the decisions of every run with the first seed (docs/reports.md)

    >>> result = pghot.compare("workload:gups", policies=["numab2"])  # doctest: +SKIP
    >>> result.summary.column_names[:2]  # doctest: +SKIP
    ['label', 'policy']
    """
    setting = setting or checked_setting("compare", settings)
    if is_uri(recording):
        workers = 1  # Arrow's clients of object stores do not live on in a forked process
    check_kind("tiers", tiers, (str, Path, Topology), "a name, a path or a Topology")
    topology = tiers if isinstance(tiers, Topology) else load_topology(tiers)
    specs = planned(
        topology, policies, sources, options=options, access=access, classes=classes, movers=movers
    )
    runs: list[RunOutcome] = []
    caches: list[TraceBounds] = []
    with ExitStack() as ends:
        for number, (seed, trace) in enumerate(played_traces(recording, topology, setting)):
            report = partial(_report, progress, number, setting.seeds)
            report(0.0)  # before kernels are compiled, which is announced then
            if number == 0:
                wait_for_kernels = ends.enter_context(compiling_beside(specs, workers))
            bench = Bench(trace, topology, setting, seed)
            wait_for_kernels()
            if log is None or number > 0:
                runs += bench.play(specs, report, workers)
            else:
                with log_of(Path(log), len(specs), bench.log_facts(digest_of(recording))) as logs:
                    runs += bench.play(specs, report, workers, logs)
            if bounds:
                caches.append(trace_bounds(trace, bench.top_pages(), seed))
    return collect(runs, _with_warnings(bench.setup(), runs, specs), topology, caches)


def planned(
    topology: Topology,
    policies: Sequence[str | RunSpec],
    sources: Sequence[str] = (),
    *,
    options: Sequence[str] = (),
    access: Sequence[str] = (),
    classes: Sequence[str] = (),
    movers: Sequence[str] = (),
) -> list[RunSpec]:
    """The runs of a comparison on these tiers; see `compare`. Raises `UsageError` for names and options it lacks."""
    several = {
        "policies": policies,
        "sources": sources,
        "options": options,
        "access": access,
        "classes": classes,
        "movers": movers,
    }
    for name, words in several.items():
        check_several(name, words)
    for policy in policies:
        check_kind("a policy", policy, (str, RunSpec), "a name or a RunSpec")
    if "all" in policies and not sources and topology.compression is not None:
        policies = [*policies, DEVICE_MOVER]
    return _under_rules(
        with_options(_plan(policies, sources or default_sources(topology), classes, movers), options),
        access,
        topology,
    )


def _with_warnings(setup: Setup, runs: Sequence[RunOutcome], specs: Sequence[RunSpec]) -> Setup:
    """The setup with the access rules that were compared, their warnings, and that of a sample without neighbours."""
    rules = tuple(dict.fromkeys(run.access for run in runs if run.access))
    told = warnings_of(map(rule_named, rules))
    return replace(setup, access=rules, warnings=(*setup.warnings, *told, *_lost_neighbours(setup, specs)))


def _lost_neighbours(setup: Setup, specs: Sequence[RunSpec]) -> list[str]:
    """Which policies move units that neighbouring pages shared before the sample parted them (docs/model.md)."""
    if setup.sample is None:
        return []
    recorded = setup.similarity.group_pages * setup.sample.pages / setup.sample.whole_pages * setup.page_bytes
    units = {spec.policy: granularity_of(POLICIES.get(spec.policy)) for spec in specs}
    parted = [name for name, unit in units.items() if unit > max(recorded, setup.page_bytes)]
    if not parted:
        return []
    return [
        f"a sample has no neighbours: {', '.join(parted)} move larger units, which are taken to be equally hot "
        "throughout; that flatters, and the intervals do not cover it"
    ]


def _plan(
    policies: Sequence[str | RunSpec], sources: Sequence[str], classes: Sequence[str], movers: Sequence[str]
) -> list[RunSpec]:
    names = [policy for policy in policies if isinstance(policy, str)]
    own = [policy for policy in policies if isinstance(policy, RunSpec)]
    return plan_runs(names, sources, classes, movers) + own


def with_options(specs: list[RunSpec], assignments: Sequence[str]) -> list[RunSpec]:
    """The runs, each once, with the options that `--set` gives to their policies and sources."""
    heard = dict.fromkeys(source for spec in specs for source in spec.sources)
    chosen = parse_options(
        assignments,
        dict.fromkeys([*(spec.policy for spec in specs), *heard]),
        lambda name: (SOURCES if name in heard else POLICIES).options(name),
    )
    given = [
        replace(
            spec,
            options={**spec.options, **chosen.get(spec.policy, {})},
            source_options={
                **spec.source_options,
                **{
                    name: {**spec.source_options.get(name, {}), **chosen[name]}
                    for name in spec.sources
                    if name in chosen
                },
            },
        )
        for spec in specs
    ]
    return _each_once(given)


def _under_rules(specs: list[RunSpec], access: Sequence[str], topology: Topology) -> list[RunSpec]:
    """The runs under each of these rules, and the baselines under every rule that a run has.

    Raises `UsageError` for an unknown rule, and where no node compresses.
    """
    rules: list[str | None] = list(dict.fromkeys(rule_named(name).name for name in access))
    if rules and topology.compression is None:
        raise UsageError(
            "no node of these tiers compresses: there is no access rule to choose (--access)",
            "give --tiers dram-cxl-compressed, or leave --access out",
        )
    if not rules or (topology.compression and rules == [topology.compression.access.name]):
        rules = [None]
    ruled = [replace(spec, access=spec.access or rule) for spec in specs for rule in rules]
    named = dict.fromkeys(spec.access for spec in ruled)
    baselines = [RunSpec(name, access=rule) for rule in named for name in BASELINES]
    have = {(spec.policy, spec.access) for spec in ruled if not spec.sources}
    missing = [spec for spec in baselines if (spec.policy, spec.access) not in have]
    return [*missing, *_each_once(ruled)]


def _each_once(specs: Sequence[RunSpec]) -> list[RunSpec]:
    return [spec for place, spec in enumerate(specs) if spec not in specs[:place]]


def _report(progress: Progress, seed_number: int, seeds: int, part: float) -> None:
    """Report the progress of one seed in thousandths of the whole comparison."""
    progress(int(1000 * (seed_number + part) / seeds), 1000)
