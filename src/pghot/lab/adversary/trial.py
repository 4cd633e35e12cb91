"""One attack played: what remained at the worst moment, and whether data was lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pghot.errors import PghotError
from pghot.lab.adversary.attacks import Strategy, build
from pghot.lab.adversary.scene import Scene
from pghot.lab.adversary.state import (
    DEMOTED,
    FAULTS,
    FIRST_LOSS,
    KILLED,
    LEAST,
    LEAST_STEP,
    LEFT,
    LOST,
    NOW,
    REFUSED,
    STEPS,
    USED,
    State,
    new_state,
)
from pghot.lab.adversary.steps import audit, play


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attack ended. `least_bytes`: the least that ever remained; below zero, what was missing."""

    name: str
    strategy: Strategy
    seed: int
    least_bytes: int
    lost_writes: int
    steps: int
    worst_step: int
    first_loss_step: int | None
    counts: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "strategy": self.strategy.to_dict(),
            "seed": self.seed,
            "least_bytes": self.least_bytes,
            "lost_writes": self.lost_writes,
            "steps": self.steps,
            "worst_step": self.worst_step,
            "first_loss_step": self.first_loss_step,
            "counts": self.counts,
        }


def run_attack(scene: Scene, strategy: Strategy, name: str = "", seed: int = 0) -> Outcome:
    """Play an attack on an empty device. Raises `PghotError` when the engine's account is not exact."""
    state = new_state(scene, strategy.order_number, seed)
    play(state, build(scene, strategy, seed))
    return outcome(state, strategy, name, seed)


def outcome(state: State, strategy: Strategy, name: str, seed: int) -> Outcome:
    v = state.var
    if audit(state) != v[USED]:
        raise PghotError(
            f"the adversary's account is off by {v[USED] - audit(state)} B", "report this with the seed"
        )
    names = {"demoted": DEMOTED, "refused": REFUSED, "left": LEFT, "faults": FAULTS, "killed": KILLED}
    return Outcome(
        name,
        strategy,
        seed,
        int(v[LEAST]),
        int(v[LOST]),
        int(v[STEPS]),
        int(v[LEAST_STEP]),
        int(v[FIRST_LOSS]) if v[LOST] else None,
        {key: int(v[index]) for key, index in names.items()} | {"time_ps": int(v[NOW])},
    )
