"""A goal for promotion in place of a steady rate: it moves the rate between nothing and `--rate`.

Far from the goal the rate is full. Near it, it falls with the distance, so that the goal is not overrun; at the goal it
is nothing until there is some distance again. When pages come back that were just demoted, it stops for a while, and
then tries with little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

from pghot.errors import UsageError, unknown_name
from pghot.units import format_number, parse_share

GoalKind = Literal["fast-used", "hot-on-fast"]
PERIOD_MS = 1000
TAPER = 0.1  # so near the goal the rate begins to fall
LEAST = 1 / 16  # of the rate, so that the goal is reached
SLACK = 0.02  # so far from it promotion begins again
PAUSE_MS = 30_000  # after ping-pong


@dataclass(frozen=True, slots=True)
class Goal:
    """fast-used: the share of the fast nodes that is in use. hot-on-fast: of the accesses that sources saw in the last
    seconds, the share that the fast tier served."""

    kind: GoalKind
    share: float

    def __str__(self) -> str:
        return f"{self.kind}={format_number(self.share, 4)}"


class GoalFacts(TypedDict):
    """measured is None before anything was seen; rate_share is the part of the rate that is used."""

    kind: GoalKind
    wanted: float
    measured: float | None
    rate_share: float


def parse_goal(text: str) -> Goal:
    """Raises `UsageError`.

    >>> parse_goal("fast-used=90%")
    Goal(kind='fast-used', share=0.9)
    """
    kind, equals, share = text.partition("=")
    known = list(get_args(GoalKind))
    if kind not in known:
        raise unknown_name("goal", kind, known)
    if not equals:
        raise UsageError(f"the goal '{text}' has no share", f"write {kind}=90%")
    return Goal("fast-used" if kind == "fast-used" else "hot-on-fast", parse_share(share))


class RateGoal:
    """`share` is the part of the rate that may be used now."""

    def __init__(self, goal: Goal, now_ms: int) -> None:
        self.goal = goal
        self.share = 1.0
        self.measured: float | None = None
        self._then_ms = now_ms
        self._reached = False
        self._guard_share, self._paused_until_ms = 1.0, now_ms
        self._served = self._seen = 0.0

    def saw(self, top: int, below: int) -> None:
        """Accesses on the top tier and below it, by a source that sees both."""
        self._served += top
        self._seen += top + below

    def tick(self, now_ms: int, fast_used: float, guard_share: float) -> None:
        """Judge once a second. `guard_share` is what the ping-pong guard leaves of the rate."""
        if now_ms - self._then_ms < PERIOD_MS:
            return
        self._then_ms = now_ms
        self.measured = self._measure(fast_used)
        if guard_share < self._guard_share:
            self._paused_until_ms = now_ms + PAUSE_MS
        self._guard_share = guard_share
        self.share = self._share(now_ms)

    def _measure(self, fast_used: float) -> float | None:
        """What was seen counts half after each second."""
        if self.goal.kind == "fast-used":
            return fast_used
        measured = self._served / self._seen if self._seen >= 1 else None
        self._served /= 2
        self._seen /= 2
        return measured

    def _share(self, now_ms: int) -> float:
        short = self.goal.share - (0.0 if self.measured is None else self.measured)
        self._reached = short <= (SLACK if self._reached else 0.0)
        if self._reached or now_ms < self._paused_until_ms:
            return 0.0
        if self._guard_share < 1:
            return LEAST
        return min(1.0, max(LEAST, short / TAPER))

    def facts(self) -> GoalFacts:
        return {
            "kind": self.goal.kind,
            "wanted": self.goal.share,
            "measured": None if self.measured is None else round(self.measured, 4),
            "rate_share": round(self.share, 4),
        }
