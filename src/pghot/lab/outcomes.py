"""What a run yields under one seed, epoch by epoch and as a whole, and what it yields over all seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pghot.lab.measures import EpochSample
from pghot.lab.metrics import METRICS, RATIOS, Figures, Metric, mean_and_interval
from pghot.lab.regions_on_top import RegionOnTop, mean_over_seeds
from pghot.policies.runs_on import RunsOn


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """One run under one seed.

    label     names the run: no two runs of a seed share one, see `lab.bench.labels`
    kind      "baseline", "mover", "oracle", ...: see `policies.policy.Policy`
    options   as `--set` takes them
    runs_on   see `policies.runs_on`
    sampling  how each source samples, in words
    held_back decisions of the policy not to move, by reason (`policies.decisions.HeldBack`)
    regions   how much of each is in the top tier, see `lab.regions_on_top`
    samples   at the end of each epoch
    access    the rule of the node that compresses; None, and not in `to_dict`: no node does
    mover     who moved the pages, by its name; None, and not in `to_dict`: no run of the comparison names one
    """

    label: str
    policy: str
    kind: str
    runs_on: RunsOn
    sources: tuple[str, ...]
    options: tuple[str, ...]
    seed: int
    figures: Figures
    node_shares: Mapping[str, float]
    sampling: tuple[str, ...]
    counters: Mapping[str, int]
    held_back: Mapping[str, int]
    samples: Sequence[EpochSample]
    access: str | None = None
    mover: str | None = None
    regions: Sequence[RegionOnTop] = ()

    def to_dict(self) -> dict[str, Any]:
        """A row of the table `runs`: all but the samples. The ratios come last, as they are known last."""
        figures = asdict(self.figures)
        ratios = {name: figures.pop(name) for name in RATIOS}
        return {
            "label": self.label,
            "policy": self.policy,
            "kind": self.kind,
            "runs_on": self.runs_on,
            "sources": self.sources,
            "options": self.options,
            **_named(access=self.access, mover=self.mover),
            "seed": self.seed,
            **figures,
            "node_shares": self.node_shares,
            "regions": [asdict(each) for each in self.regions],
            "sampling": self.sampling,
            **ratios,
            "counters": self.counters,
            "held_back": self.held_back,
        }


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One run over all seeds.

    figures  means
    speedups of each seed, in order; fewer where a seed has none
    ci95     for each metric the half-width of its 95 % confidence interval; None with one seed
    held_back  sums over the seeds
    regions  means
    access, mover  as in `RunOutcome`
    """

    label: str
    policy: str
    kind: str
    runs_on: RunsOn
    sources: tuple[str, ...]
    options: tuple[str, ...]
    seeds: int
    figures: Figures
    speedups: tuple[float, ...]
    ci95: Mapping[str, float | None]
    node_shares: Mapping[str, float]
    sampling: tuple[str, ...]
    held_back: Mapping[str, int]
    access: str | None = None
    mover: str | None = None
    regions: Sequence[RegionOnTop] = ()

    @property
    def needs_foresight(self) -> bool:
        """Whether it knows what no machine knows: it is an oracle, or hears a source that no machine has."""
        return self.runs_on == "nowhere"

    def cell(self, metric: Metric) -> tuple[float | None, float | None]:
        """The mean of a metric and the half-width of its interval."""
        return getattr(self.figures, metric.name), self.ci95[metric.name]

    def to_dict(self) -> dict[str, Any]:
        """A row of the table `summary`."""
        cells = {}
        for metric in METRICS:
            cells[metric.name], cells[f"{metric.name}_ci95"] = self.cell(metric)
        return {
            "label": self.label,
            "policy": self.policy,
            "kind": self.kind,
            "runs_on": self.runs_on,
            "sources": self.sources,
            "options": self.options,
            **_named(access=self.access, mover=self.mover),
            "seeds": self.seeds,
            **cells,
            "node_shares": self.node_shares,
            "regions": [asdict(each) for each in self.regions],
            "sampling": self.sampling,
            "held_back": self.held_back,
        }


@dataclass(frozen=True, slots=True)
class EpochRow:
    """One epoch of one run: a row of the table `timeline`.

    elapsed_s              at its end, since the run began
    fast_miss_share        None without misses
    promotions, demotions  in this epoch
    coverage               None: nothing was hot
    used_share, latency_ns of each node, at its end
    """

    label: str
    seed: int
    epoch: int
    elapsed_s: float
    duration_ms: float
    fast_miss_share: float | None
    promotions: float
    demotions: float
    coverage: float | None
    used_share: tuple[float, ...]
    latency_ns: tuple[float, ...]


def _named(**facts: str | None) -> dict[str, str]:
    return {name: fact for name, fact in facts.items() if fact is not None}


# What the runs are compared with, by the ratio.
_YARDSTICKS = {
    "speedup": "none",
    "speedup_warmup": "none",
    "slowdown": "all-fast",
    "over_demotion": "demotion",
    "over_fixed": "oracle-static",
}


def summarise_runs(runs: Sequence[RunOutcome], error: float = 0.0) -> list[SummaryRow]:
    """One row for each label, in the order of the runs.

    error  share of each figure that is added to its interval, for what the seeds have in common; a yardstick's ratio
           to itself has none
    """
    by_label: dict[str, list[RunOutcome]] = {}
    for run in runs:
        by_label.setdefault(run.label, []).append(run)
    return [_summary_row(same, error) for same in by_label.values()]


def _summary_row(same: Sequence[RunOutcome], error: float) -> SummaryRow:
    first = same[0]
    cells = {
        metric.name: mean_and_interval([getattr(run.figures, metric.name) for run in same])
        for metric in METRICS
    }
    means: dict[str, Any] = {name: mean for name, (mean, _) in cells.items()}
    return SummaryRow(
        label=first.label,
        policy=first.policy,
        kind=first.kind,
        runs_on=first.runs_on,
        sources=first.sources,
        options=first.options,
        seeds=len(same),
        figures=Figures(**means),
        speedups=tuple(run.figures.speedup for run in same if run.figures.speedup is not None),
        ci95={
            name: half
            if half is None or mean is None or _YARDSTICKS.get(name) == first.policy
            else half + error * abs(mean)
            for name, (mean, half) in cells.items()
        },
        node_shares={
            name: sum(run.node_shares[name] for run in same) / len(same) for name in first.node_shares
        },
        sampling=first.sampling,
        held_back=dict(sum((Counter(run.held_back) for run in same), Counter()).most_common()),
        access=first.access,
        mover=first.mover,
        regions=mean_over_seeds([run.regions for run in same]),
    )


def epoch_rows(run: RunOutcome, lower: Sequence[bool]) -> list[EpochRow]:
    """The epochs of a run: what changed from one sample to the next.

    lower  for each node, whether it is below the top tier
    """
    start = EpochSample.at_the_start(len(lower))
    pairs = zip([start, *run.samples], run.samples, strict=False)
    return [_epoch_row(run, epoch, before, after, lower) for epoch, (before, after) in enumerate(pairs)]


def _epoch_row(
    run: RunOutcome, epoch: int, before: EpochSample, after: EpochSample, lower: Sequence[bool]
) -> EpochRow:
    served = [now - then for now, then in zip(after.served, before.served, strict=True)]
    total = sum(served)
    on_top = sum(misses for misses, low in zip(served, lower, strict=True) if not low)
    return EpochRow(
        run.label,
        run.seed,
        epoch,
        elapsed_s=after.elapsed_ns / 1e9,
        duration_ms=(after.elapsed_ns - before.elapsed_ns) / 1e6,
        fast_miss_share=on_top / total if total else None,
        promotions=after.promoted - before.promoted,
        demotions=after.demoted - before.demoted,
        coverage=None if after.coverage != after.coverage else after.coverage,
        used_share=after.used_share,
        latency_ns=after.latency_ns,
    )
