"""How much may be promoted now: a rate, less what the ping-pong guard and a goal take."""

from __future__ import annotations

from pghot.live.machine.rate_goal import RateGoal
from pghot.policies.bucket import TokenBucket
from pghot.policies.pingpong import PingPongGuard
from pghot.units import PAGE_BYTES


class Pace:
    """Of one group of programs, or of all.

    within     the pace of all programs, which holds beside
    goal       moves the rate; None: it is steady
    promoted   pages that were promoted at this pace; `returned` of them had been demoted before
    """

    def __init__(
        self, rate_mb_s: float, now_ns: int, within: Pace | None = None, goal: RateGoal | None = None
    ) -> None:
        self.rate_mb_s = rate_mb_s
        self.bucket = TokenBucket(rate_mb_s, now_ns)
        self.guard = PingPongGuard(now_ns // 1_000_000)
        self.goal = goal
        self._guards = [self.guard]
        self._all = [self]
        if within is not None:
            self._all.append(within)
            within._guards.append(self.guard)
        self.promoted = self.returned = 0

    def tick(self, now_ns: int, fast_used: float = 0.0) -> None:
        """Let time pass. `fast_used` is the share of the fast nodes that is in use, for a goal."""
        now_ms = now_ns // 1_000_000
        self.guard.tick(now_ms, self.promoted, self.returned)
        if self.goal is not None:
            self.goal.tick(now_ms, fast_used, min(guard.share for guard in self._guards))
        self.bucket.refill(now_ns, self.share)

    @property
    def share(self) -> float:
        """Part of the rate that may be used."""
        return self.guard.share * (1.0 if self.goal is None else self.goal.share)

    def pages(self) -> int:
        """Pages that may be promoted now. At a goal that is reached, what is left in the bucket stays there."""
        return min(pace.bucket.bytes_now() if pace.share else 0 for pace in self._all) // PAGE_BYTES

    def spend(self, promoted: int, returned: int) -> None:
        """So many pages were promoted."""
        self.promoted += promoted
        self.returned += returned
        for pace in self._all:
            pace.bucket.spend(promoted * PAGE_BYTES)
