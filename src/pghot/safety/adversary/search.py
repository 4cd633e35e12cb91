"""The search for the attack that comes nearest to data loss, and for the reserve below which an attack succeeds.

Optuna's TPE sampler varies the numbers of `Strategy`, starting from the named attacks. A trial is judged by the least
capacity that ever remained. If that is below zero, data was lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pghot.safety.adversary.attacks import ATTACKS, Strategy, attack
from pghot.safety.adversary.scene import Scene
from pghot.safety.adversary.state import ORDERS
from pghot.safety.adversary.trial import AttackOutcome, run_attack
from pghot.units import PAGE_BYTES

if TYPE_CHECKING:
    import optuna

Progress = Callable[[int, int], None]


def quiet(done: int, of: int) -> None:
    """No progress."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """All attacks on one scene, the worst first. Bytes are those of the scene as played, not of the full-size one."""

    scene: Scene
    outcomes: tuple[AttackOutcome, ...]

    @property
    def worst(self) -> AttackOutcome:
        return self.outcomes[0]

    @property
    def lost(self) -> bool:
        return any(outcome.lost_writes for outcome in self.outcomes)

    @property
    def steps(self) -> int:
        return sum(outcome.steps for outcome in self.outcomes)


def ranked(scene: Scene, outcomes: list[AttackOutcome]) -> Campaign:
    return Campaign(scene, tuple(sorted(outcomes, key=lambda outcome: outcome.least_bytes)))


def run_named(scene: Scene, names: list[str], progress: Progress = quiet) -> Campaign:
    """Named attacks, one after the other."""
    outcomes = []
    progress(0, len(names))
    for number, name in enumerate(names, 1):
        outcomes.append(run_attack(scene, attack(name, scene), name))
        progress(number, len(names))
    return ranked(scene, outcomes)


def suggest(trial: optuna.Trial, scene: Scene) -> Strategy:
    """One strategy; the names are those of its fields."""
    yes_no = [False, True]
    return Strategy(
        order=trial.suggest_categorical("order", list(ORDERS)),
        hold=trial.suggest_float("hold", 0, 1),
        stream=trial.suggest_float("stream", 0, 1),
        decoys=trial.suggest_float("decoys", 0, 1),
        pins=trial.suggest_float("pins", 0, 1),
        spare=trial.suggest_float("spare", 0, 0.5),
        noise=trial.suggest_float("noise", 0, 0.5),
        lead=trial.suggest_int("lead", 0, max(1, scene.host.batch_pages)),
        pause=trial.suggest_int("pause", 1, 4096, log=True),
        cycles=trial.suggest_int("cycles", 1, 3),
        attackers=trial.suggest_int("attackers", 1, scene.tenants),
        **{
            name: trial.suggest_categorical(name, yes_no)
            for name in ("edge", "across", "flush", "around", "regrow", "zero_copy")
        },
    )


def point(strategy: Strategy, scene: Scene) -> dict[str, Any]:
    """A named attack as a point of the space that `suggest` samples."""
    bounds = {"attackers": scene.tenants, "lead": max(1, scene.host.batch_pages)}
    return {name: min(value, bounds.get(name, value)) for name, value in strategy.to_dict().items()}


def search(scene: Scene, budget: int, seed: int = 0, progress: Progress = quiet) -> Campaign:
    """The named attacks, then trials of the sampler until there are `budget` attacks in all."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    names = list(ATTACKS)
    outcomes: list[AttackOutcome] = []
    for name in names[:budget]:
        study.enqueue_trial(point(attack(name, scene), scene))

    def objective(trial: optuna.Trial) -> float:
        name = names[trial.number] if trial.number < len(names) else f"trial-{trial.number}"
        found = run_attack(scene, suggest(trial, scene), name, seed + trial.number)
        outcomes.append(found)
        progress(len(outcomes), budget)
        return found.least_bytes

    progress(0, budget)
    study.optimize(objective, n_trials=budget)
    return ranked(scene, outcomes)


def necessary_reserve(scene: Scene, names: list[str] | None = None) -> tuple[int, str]:
    """The smallest reserve at which no named attack makes the device lose data, and the attack that needs it.

    In bytes, to a quarter of a page; (0, "") if no attack succeeds even without a reserve.
    """
    chosen = names or list(ATTACKS)
    unit = PAGE_BYTES // 4
    low, high, by = -1, scene.real // unit, ""
    while high - low > 1:
        middle = (low + high) // 2
        reserve = scene.with_reserve(middle * unit)
        loser = next((n for n in chosen if run_attack(reserve, attack(n, reserve)).lost_writes), "")
        if loser:
            low, by = middle, loser
            chosen = [loser, *(n for n in chosen if n != loser)]
        else:
            high = middle
    return high * unit, by


def soak(scene: Scene, steps: int, seed: int = 0) -> Campaign:
    """Named attacks with noise, over and over with new seeds, for at least this many steps."""
    outcomes: list[AttackOutcome] = []
    done = 0
    while done < steps:
        for name in ATTACKS:
            strategy = replace(attack(name, scene), noise=0.2, cycles=2)
            outcomes.append(run_attack(scene, strategy, name, seed + len(outcomes)))
            done += outcomes[-1].steps
    return ranked(scene, outcomes)
