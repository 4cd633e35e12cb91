"""`tune`: Optuna turns the knobs that a policy declares (`pghot.parameters.Knob`), on recordings, under several seeds.

The first trial has the defaults, so the best is never worse than they are on what it is tuned on. All trials play the
same recordings under the same seeds. What was found is then judged on recordings that were held out, or, if there are
none, on the same ones under seeds that no trial had. Everything that is drawn follows from the seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pghot.errors import UsageError
from pghot.lab.bench import Bench
from pghot.lab.compare import default_sources, plan_runs, with_options
from pghot.lab.comparison_setup import Setup
from pghot.lab.dealt import dealt, processes_for
from pghot.lab.outcomes import RunOutcome
from pghot.lab.recorded_cache import seen_by_the_real_cache
from pghot.lab.run_spec import RunSpec
from pghot.lab.setting import Setting
from pghot.lab.traces import load_trace
from pghot.lab.tuned import HeldOut, Slowdowns, Span, Trial, Tuned, best_of
from pghot.parameters import knobs_of
from pghot.plugins import Registry
from pghot.policies import LIVE_POLICIES
from pghot.recording.bytesource import is_uri
from pghot.recording.trace import Trace
from pghot.sim.machine.topology import Topology, load_topology
from pghot.sim.policies import POLICIES

if TYPE_CHECKING:
    import optuna

ALL_FAST = RunSpec("all-fast")
MOST_TRIALS = 100_000
Progress = Callable[[int, int], None]
Recording = str | Path | Trace


def tune(
    recordings: Sequence[Recording],
    policy: str,
    tiers: str | Path | Topology = "dram-cxl",
    sources: str = "",
    *,
    budget: int = 100,
    held_out: Sequence[Recording] = (),
    setting: Setting | None = None,
    where: str = "",
    options: Sequence[str] = (),
    seed: int = 0,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> Tuned:
    """Look for better values of the policy's knobs.

    sources   that a policy listens to which takes any: one, or several joined by "+"; empty: the policy's own
    budget    trials, the defaults among them; each plays all recordings under all seeds once
    held_out  recordings to judge by; none: the same ones, under other seeds
    where     the class in which it runs, as for `plan_runs`; empty: as an operator can have it today
    options   as for `compare`; a knob that is given is not turned
    seed      of the sampler
    workers   the most processes that replay side by side; they are forked, and give the results that one would

    Raises `UsageError` for a policy without knobs and a budget that leaves nothing to try. When it is interrupted, it
    returns what it has; before the defaults are played, `KeyboardInterrupt` goes on.
    """
    if not 2 <= budget <= MOST_TRIALS:
        raise UsageError(
            f"a budget of {budget} trials (--budget) tunes nothing: the first has the defaults",
            f"give 2 to {MOST_TRIALS}",
        )
    if both := [str(each) for each in held_out if _place(each) in map(_place, recordings)]:
        raise UsageError(f"'{both[0]}' is tuned on and held out", "hold out another recording")
    topology = tiers if isinstance(tiers, Topology) else load_topology(tiers)
    spec = one_run(policy, sources, where, options, topology)
    knobs = knobs_to_turn(spec)
    base, total = setting or Setting(), budget + 2 + len(_oracles())
    for each in (*recordings, *held_out):
        load_trace(
            each, base.first_seed, base.page_bytes
        )  # what cannot be read is refused before anything is played
    progress(0, total)
    if any(map(is_uri, (*recordings, *held_out))):
        workers = 1  # Arrow's clients of object stores do not live on in a forked process
    judge = Judge(recordings, topology, base, workers)
    # So is, before the trials, what can be read and not be played.
    later = replace(base, first_seed=base.first_seed + base.seeds)
    unseen = Judge(held_out or recordings, topology, later, workers)
    study, trials = _study(seed), [Trial({}, judge.slowdowns([spec])[0])]
    found = Tuned(spec, knobs, budget, trials, judge.names, judge.seeds, judge.setup(), None, not held_out)
    try:
        _learn(study, spec, knobs, trials[0])
        progress(1, total)
        while len(trials) < budget:
            _try_another(study, spec, knobs, judge, trials)
            progress(len(trials), total)
        found = replace(found, held_out=_judged(unseen, spec, trials))
        progress(total, total)
    except KeyboardInterrupt:
        pass
    return found


def _place(recording: Recording) -> object:
    """The same for two names of one file."""
    if isinstance(recording, str | Path) and Path(recording).exists():
        return Path(recording).resolve()
    return str(recording) if isinstance(recording, Path) else recording


def one_run(policy: str, sources: str, where: str, options: Sequence[str], topology: Topology) -> RunSpec:
    """The run that is tuned. Raises `UsageError` for what cannot run so."""
    declared = POLICIES.get(policy)
    if sources and not declared.any_source:
        raise UsageError(f"'{policy}' listens to sources of its own", "leave --sources out")
    heard = sources or "+".join(declared.default_sources)
    specs = plan_runs([policy], [heard] if heard else default_sources(topology), [where] if where else ())
    own = [spec for spec in with_options(specs, options) if spec.policy == policy]
    if not own:
        raise UsageError(f"'{policy}' has no run in the class '{where}'", "leave --classes out")
    return own[0]


def knobs_to_turn(spec: RunSpec) -> dict[str, Span]:
    """The knobs of the run's policy that have a range to look in, without those that are given.

    What the policy refuses is none of its knobs: settings that only other stores heed and, where pghot runs it in user
    space, those that only the lab honours. Where it takes only a part of the range, that part is left. Raises
    `UsageError` where nothing is left, and for a given option that the policy refuses.
    """
    _registry(spec).make(spec.policy, **spec.options)
    found = {}
    for name, knob in knobs_of(POLICIES.get(spec.policy)).items():
        if knob.low is None or knob.high is None or name in spec.options:
            continue
        whole = not isinstance(POLICIES.options(spec.policy)[name], float)
        span = _within_reach(spec, name, Span(knob.low, knob.high, whole))
        if span is not None:
            found[name] = span
    if not found:
        given = " beside those that are given" if spec.options else ""
        raise UsageError(
            f"'{spec.policy}' has no knobs to turn{given}",
            "choose a policy that declares some, such as pghot-default",
        )
    return found


def _within_reach(spec: RunSpec, name: str, span: Span) -> Span | None:
    """The span up to the highest value that the policy takes, to the next whole number; None: it does not take the
    lowest."""
    if not _takes(spec, {name: span.tidy(span.low)}):
        return None
    if _takes(spec, {name: span.tidy(span.high)}):
        return span
    taken, refused = int(span.low), int(span.high)
    while refused - taken > 1:
        middle = (taken + refused) // 2
        taken, refused = (middle, refused) if _takes(spec, {name: span.tidy(middle)}) else (taken, middle)
    return replace(span, high=taken)


def _registry(spec: RunSpec) -> Registry[Any]:
    return LIVE_POLICIES if spec.runs_on == "user space" else POLICIES


def _takes(spec: RunSpec, options: Mapping[str, float]) -> bool:
    try:
        _registry(spec).make(spec.policy, **{**spec.options, **options})
    except UsageError:
        return False
    return True


class Judge:
    """Plays runs over some recordings, each under every seed, and keeps what does not depend on their options."""

    def __init__(
        self, recordings: Sequence[Recording], topology: Topology, setting: Setting, workers: int
    ) -> None:
        """workers  the most processes that play side by side, each some of the recordings and seeds"""
        self._workers = workers
        self.seeds = tuple(range(setting.first_seed, setting.first_seed + setting.seeds))
        self._benches = [
            [self._bench(recording, topology, setting, seed) for recording in recordings]
            for seed in self.seeds
        ]
        self.names = tuple(bench.trace.info.name for bench in self._benches[0])
        self._fast_s = [[fast.figures.steady_time_s for (fast,) in same] for same in self._played([ALL_FAST])]

    def _bench(self, recording: Recording, topology: Topology, setting: Setting, seed: int) -> Bench:
        trace = load_trace(recording, seed, setting.page_bytes)
        heard = seen_by_the_real_cache(trace, topology.llc_bytes, setting.stands_for, setting.times)
        return Bench(heard, topology, setting, seed)

    def setup(self) -> Setup:
        """Of the first recording."""
        return self._benches[0][0].setup()

    def slowdowns(self, specs: Sequence[RunSpec]) -> list[Slowdowns]:
        """Of each run."""
        found: list[list[float]] = [[] for _ in specs]
        for played, fast_s in zip(self._played(specs), self._fast_s, strict=True):
            for place, each in enumerate(found):
                logs = [
                    math.inf
                    if run[place].figures.killed_tenants
                    else math.log(run[place].figures.steady_time_s / fast)
                    for run, fast in zip(played, fast_s, strict=True)
                ]
                each.append(math.exp(sum(logs) / len(logs)))
        return [Slowdowns(tuple(each)) for each in found]

    def _played(self, specs: Sequence[RunSpec]) -> list[list[list[RunOutcome]]]:
        """The outcome of each run, for each seed and recording."""

        def part(benches: Sequence[Bench], _: Callable[[float], None]) -> list[list[RunOutcome]]:
            return [bench.play(specs, lambda part: None) for bench in benches]

        benches = [bench for same in self._benches for bench in same]
        work_s = sum(bench.work_s(len(specs)) for bench in benches)
        played = dealt(benches, processes_for(work_s, self._workers), part, lambda part: None)
        of_a_seed = len(self.names)
        return [played[first : first + of_a_seed] for first in range(0, len(played), of_a_seed)]


def _study(seed: int) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))


def _learn(study: optuna.Study, spec: RunSpec, knobs: Mapping[str, Span], defaults: Trial) -> None:
    """Tell the sampler what the defaults gave, by those of them that are numbers in their span."""
    import optuna

    if defaults.slowdowns is None or math.isinf(defaults.slowdowns.mean):
        return
    given = {name: POLICIES.options(spec.policy)[name] for name in knobs}
    known = {
        name: value
        for name, value in given.items()
        if value is not None and knobs[name].low <= value <= knobs[name].high
    }
    study.add_trial(
        optuna.trial.create_trial(
            params=known,
            distributions={name: _distribution(knobs[name]) for name in known},
            value=defaults.slowdowns.mean,
        )
    )


def _distribution(span: Span) -> Any:
    import optuna

    kinds = optuna.distributions
    if span.whole:
        return kinds.IntDistribution(int(span.low), int(span.high), log=span.by_factors)
    return kinds.FloatDistribution(span.low, span.high, log=span.by_factors)


def _try_another(
    study: optuna.Study, spec: RunSpec, knobs: Mapping[str, Span], judge: Judge, trials: list[Trial]
) -> None:
    """One trial more. What was played before is known; what is refused, or ends in a loss, is worse than the rest."""
    import optuna

    asked = study.ask({name: _distribution(span) for name, span in knobs.items()})
    options = {name: span.tidy(asked.params[name]) for name, span in knobs.items()}
    slowdowns = next((each.slowdowns for each in trials if each.options == options), None)
    if slowdowns is None and _takes(spec, options):
        (slowdowns,) = judge.slowdowns([replace(spec, options={**spec.options, **options})])
    trials.append(Trial(options, slowdowns))
    if slowdowns is None or math.isinf(slowdowns.mean):
        study.tell(asked, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(asked, slowdowns.mean)


def _oracles() -> list[RunSpec]:
    return [
        RunSpec(name, policy.default_sources)
        for name, policy in POLICIES.usable().items()
        if policy.kind == "oracle"
    ]


def _judged(judge: Judge, spec: RunSpec, trials: Sequence[Trial]) -> HeldOut:
    """The defaults, the best of the trials and the oracles on what was held out."""
    oracles = _oracles()
    tuned = replace(spec, options={**spec.options, **best_of(trials).options})
    played = judge.slowdowns([spec, tuned, *oracles])
    names = [each.policy for each in oracles]
    return HeldOut(judge.names, judge.seeds, played[0], played[1], dict(zip(names, played[2:], strict=True)))
