"""What `pghot tune` found: every trial, and how the defaults and the best compare on what they were not tuned on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pghot.lab.comparison_setup import Setup
from pghot.lab.metrics import mean_and_interval
from pghot.lab.run_spec import RunSpec

SCHEMA = "pghot.tune/1"


@dataclass(frozen=True, slots=True)
class Span:
    """Where a knob is looked for. `whole`: only whole numbers."""

    low: float
    high: float
    whole: bool

    @property
    def by_factors(self) -> bool:
        """A wide span is searched by factors: 10 and 20 differ as much as 1000 and 2000."""
        return self.low > 0 and self.high >= 10 * self.low

    def tidy(self, value: float) -> float:
        """To three digits: no more can be told apart, and people read it.

        >>> Span(0.05, 0.9, whole=False).tidy(0.123456)
        0.123
        """
        return int(value) if self.whole else min(max(float(f"{value:.3g}"), self.low), self.high)


@dataclass(frozen=True, slots=True)
class Slowdowns:
    """Of one run for each seed: steady time over that with all memory fast, the geometric mean over the recordings.

    Infinite where the program did not do all its work.
    """

    seeds: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return sum(self.seeds) / len(self.seeds)

    def to_dict(self) -> dict[str, Any]:
        """Mean and half-width of its 95 % interval; null where the program did not do all its work."""
        mean, half = mean_and_interval([None if math.isinf(each) else each for each in self.seeds])
        return {"slowdown": mean, "ci95": half}


def gain(before: Slowdowns, after: Slowdowns) -> tuple[float | None, float | None]:
    """How much faster, as a share, and the half-width of its 95 % interval: seed by seed, as they share the rest.

    >>> gain(Slowdowns((1.2, 1.32)), Slowdowns((1.0, 1.1)))[0]
    0.19999999999999996
    """
    pairs = list(zip(before.seeds, after.seeds, strict=True))
    if any(math.isinf(value) for pair in pairs for value in pair):
        return None, None
    return mean_and_interval([old / new - 1 for old, new in pairs])


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting of the knobs on the recordings that are tuned on; the first has none: the defaults.

    slowdowns  None: the policy refuses this combination
    """

    options: Mapping[str, float]
    slowdowns: Slowdowns | None


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What was not tuned on, and how long it takes there.

    recordings  their names
    seeds       of the runs
    oracles     by name: what knows the future
    """

    recordings: tuple[str, ...]
    seeds: tuple[int, ...]
    defaults: Slowdowns
    tuned: Slowdowns
    oracles: Mapping[str, Slowdowns]

    @property
    def oracle(self) -> tuple[str, Slowdowns]:
        """The best of them."""
        return min(self.oracles.items(), key=lambda item: item[1].mean)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values."""
        better, half = gain(self.defaults, self.tuned)
        return {
            "recordings": list(self.recordings),
            "seeds": list(self.seeds),
            "defaults": self.defaults.to_dict(),
            "tuned": self.tuned.to_dict(),
            "gain": better,
            "gain_ci95": half,
            "oracles": {name: found.to_dict() for name, found in self.oracles.items()},
        }


@dataclass(frozen=True, slots=True)
class Tuned:
    """What `tune` returns. All figures are simulated.

    spec         the run whose knobs were turned, with the options that were given
    knobs        that were turned, and where they were looked for
    budget       trials that were asked for; there are fewer if it was interrupted
    recordings   that were tuned on
    seeds        of the runs on them
    setup        of the first recording
    held_out     None: it was interrupted before
    same         the recordings held out are those tuned on, under other seeds
    """

    spec: RunSpec
    knobs: Mapping[str, Span]
    budget: int
    trials: Sequence[Trial]
    recordings: tuple[str, ...]
    seeds: tuple[int, ...]
    setup: Setup
    held_out: HeldOut | None
    same: bool

    @property
    def best(self) -> Trial:
        """The fastest trial; the first of several, so that knobs are turned only if that gains something."""
        return best_of(self.trials)

    @property
    def defaults(self) -> Trial:
        """The first trial."""
        return self.trials[0]

    @property
    def options(self) -> dict[str, Any]:
        """The options of the policy: those that were given, and those that were found."""
        return {**self.spec.options, **self.best.options}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values."""
        better, half = gain(
            *(each.slowdowns or Slowdowns((math.inf,)) for each in (self.defaults, self.best))
        )
        return {
            "schema": SCHEMA,
            "simulated": True,
            "policy": self.spec.policy,
            "sources": list(self.spec.sources),
            "runs_on": self.spec.runs_on,
            "knobs": {name: asdict(span) for name, span in self.knobs.items()},
            "budget": self.budget,
            "options": {name: _plain(value) for name, value in self.options.items()},
            "training": {
                "recordings": list(self.recordings),
                "seeds": list(self.seeds),
                "defaults": self.defaults.slowdowns.to_dict() if self.defaults.slowdowns else None,
                "tuned": self.best.slowdowns.to_dict() if self.best.slowdowns else None,
                "gain": better,
                "gain_ci95": half,
            },
            "held_out": self.held_out.to_dict() if self.held_out else None,
            "trials": [
                {
                    "options": dict(each.options),
                    **(each.slowdowns.to_dict() if each.slowdowns else {"refused": True}),
                }
                for each in self.trials
            ],
            "setup": self.setup.to_dict(),
        }


def best_of(trials: Sequence[Trial]) -> Trial:
    """See `Tuned.best`."""
    return min(trials, key=lambda trial: trial.slowdowns.mean if trial.slowdowns else math.inf)


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset | set | tuple) else value
