"""Playing one attack: what remained at the worst moment, and whether data was lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64
from pghot.errors import PghotError
from pghot.safety.adversary.attacks import Strategy, build
from pghot.safety.adversary.scene import Scene
from pghot.safety.adversary.state import (
    DEMOTED,
    FAULTS,
    FIRST_LOSS,
    KILLED,
    LEAST,
    LEAST_STEP,
    LEFT,
    LOST,
    NOW,
    P_CLEAR,
    P_WARN,
    REFUSED,
    STEPS,
    USED,
    State,
    new_state,
)
from pghot.safety.adversary.steps import OPERATIONS, audit, play, record


@dataclass(frozen=True, slots=True)
class AttackOutcome:
    """How one attack ended. `least_bytes` is the least that ever remained; below zero, it is what was missing."""

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


def run_attack(scene: Scene, strategy: Strategy, name: str = "", seed: int = 0) -> AttackOutcome:
    """Play an attack on an empty device. Raises `PghotError` when the engine's account is not exact."""
    state = new_state(scene, strategy.order_number, seed)
    play(state, build(scene, strategy, seed))
    return outcome(state, strategy, name, seed)


def outcome(state: State, strategy: Strategy, name: str, seed: int) -> AttackOutcome:
    v = state.var
    if audit(state) != v[USED]:
        raise PghotError(
            f"the adversary's account is off by {v[USED] - audit(state)} B", "report this with the seed"
        )
    names = {"demoted": DEMOTED, "refused": REFUSED, "left": LEFT, "faults": FAULTS, "killed": KILLED}
    return AttackOutcome(
        name=name,
        strategy=strategy,
        seed=seed,
        least_bytes=int(v[LEAST]),
        lost_writes=int(v[LOST]),
        steps=int(v[STEPS]),
        worst_step=int(v[LEAST_STEP]),
        first_loss_step=int(v[FIRST_LOSS]) if v[LOST] else None,
        counts={key: int(v[index]) for key, index in names.items()} | {"time_ps": int(v[NOW])},
    )


HISTORY_ROWS = 2000  # more than a screen has columns


@dataclass(frozen=True, slots=True)
class History:
    """One attack, step by step. Of several neighbouring steps, it has the one in which least remained.

    Sizes and times are those of its scene.

    step        int64[N] from 0
    time_ps     int64[N]
    remaining   int64[N] free bytes of the medium; below zero, what is missing
    dirty       int64[N] dirty lines of the device in the cache
    warned      bool[N] a warning stands
    operation   int64[N] what tenants did most around that step, an index into `OPERATIONS`
    low, high   bytes: below the first the device warns, above the second it takes the warning back
    """

    step: I64
    time_ps: I64
    remaining: I64
    dirty: I64
    warned: npt.NDArray[np.bool_]
    operation: I64
    low: int
    high: int


def history(scene: Scene, outcome: AttackOutcome) -> History:
    """Play an attack again and record how it went."""
    state = new_state(scene, outcome.strategy.order_number, outcome.seed)
    trace = build(scene, outcome.strategy, outcome.seed)
    every = -(-len(trace) // HISTORY_ROWS)
    out = np.zeros((-(-len(trace) // every), 5), np.int64)
    record(state, trace, every, out)
    parts = [trace[row * every : (row + 1) * every, 0] for row in range(len(out))]
    most = [int(np.bincount(part, minlength=len(OPERATIONS)).argmax()) for part in parts]
    step, time_ps, remaining, dirty, warned = out.T
    return History(
        step=step,
        time_ps=time_ps,
        remaining=remaining,
        dirty=dirty,
        warned=warned.astype(np.bool_),
        operation=np.array(most, np.int64),
        low=int(state.par[P_WARN]),
        high=int(state.par[P_CLEAR]),
    )
