"""A token bucket: so many bytes a second, spent in batches."""

from __future__ import annotations

from pghot.units import PAGE_BYTES

MB = 1 << 20  # the kernel counts its *_MBps knobs in MiB


class TokenBucket:
    """Allows `rate_mb_s` MiB/s. Starts empty, so that no span of time ever gets more than its share.

    Unused bytes are kept up to what `burst_s` earns, plus a page, so that a slow rate still moves a page now and then.
    A page is `page_bytes`; in the lab one stands for many.
    A folio that moves as a whole may spend more than there is; that debt is paid before anything else moves.
    """

    def __init__(
        self, rate_mb_s: float, now_ns: int, burst_s: float = 0.5, page_bytes: float = PAGE_BYTES
    ) -> None:
        self.rate_mb_s = rate_mb_s
        self._most_kept = rate_mb_s * MB * burst_s + page_bytes
        self._bytes = 0.0
        self._then_ns = now_ns

    def refill(self, now_ns: int, share: float = 1.0) -> None:
        """Let time pass, in which `share` of the rate was earned."""
        earned = share * self.rate_mb_s * MB * max(0, now_ns - self._then_ns) / 1e9
        # The earnings of a long round are never cut, only what earlier rounds left over.
        self._bytes = min(self._bytes, self._most_kept) + earned
        self._then_ns = now_ns

    def bytes_now(self) -> int:
        """What may be moved now."""
        return max(0, int(self._bytes))

    def spend(self, size_bytes: float) -> None:
        self._bytes -= size_bytes
