"""The ping-pong guard: promotes less while many of the promoted pages are ones that were just demoted."""

from __future__ import annotations

PERIOD_MS = 1000
PERIODS = 3  # in a row before the share is halved, as the lab's lru-bw
FEW_PAGES = 64  # a period with fewer promotions says nothing
LOWEST_SHARE = 1 / 64


class PingPongGuard:
    """`share` is the part of the promotion rate that may be used; 1 while pages stay where they were put."""

    def __init__(self, now_ms: int) -> None:
        self.share = 1.0
        self._then_ms = now_ms
        self._promoted = 0
        self._returned = 0
        self._bad_periods = 0

    def tick(self, now_ms: int, promoted: int, returned: int) -> None:
        """Totals so far: pages promoted, and how many of them had been demoted before."""
        if now_ms - self._then_ms < PERIOD_MS:
            return
        up, back = promoted - self._promoted, returned - self._returned
        self._then_ms, self._promoted, self._returned = now_ms, promoted, returned
        if up < FEW_PAGES * self.share:
            return
        if 2 * back <= up:
            self._bad_periods = 0
            self.share = min(1.0, 2 * self.share)
            return
        self._bad_periods += 1
        if self._bad_periods >= PERIODS:
            self._bad_periods = 0
            self.share = max(LOWEST_SHARE, self.share / 2)
