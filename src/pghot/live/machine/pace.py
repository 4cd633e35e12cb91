"""How much may be promoted now: a rate, less what the ping-pong guard takes."""

from __future__ import annotations

from pghot.policies.bucket import TokenBucket
from pghot.policies.pingpong import PingPongGuard
from pghot.units import PAGE_BYTES


class Pace:
    """Of one group of programs, or of all.

    within     the pace of all programs, whose rate holds beside
    promoted   pages that were promoted at this pace; `returned` of them had been demoted before
    """

    def __init__(self, rate_mb_s: float, now_ns: int, within: Pace | None = None) -> None:
        self.rate_mb_s = rate_mb_s
        self.bucket = TokenBucket(rate_mb_s, now_ns)
        self.guard = PingPongGuard(now_ns // 1_000_000)
        self._buckets = [self.bucket] if within is None else [self.bucket, within.bucket]
        self.promoted = self.returned = 0

    def tick(self, now_ns: int) -> None:
        """Let time pass."""
        self.bucket.refill(now_ns)
        self.guard.tick(now_ns // 1_000_000, self.promoted, self.returned)

    @property
    def share(self) -> float:
        """Part of the rate that may be used."""
        return self.guard.share

    def pages(self) -> int:
        """Pages that may be promoted now."""
        return int(min(bucket.bytes_now() for bucket in self._buckets) * self.share) // PAGE_BYTES

    def spend(self, promoted: int, returned: int) -> None:
        """So many pages were promoted."""
        self.promoted += promoted
        self.returned += returned
        for bucket in self._buckets:
            bucket.spend(promoted * PAGE_BYTES)
