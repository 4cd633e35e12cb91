"""Whether the daemon's rounds come in time."""

from __future__ import annotations

LATE_INTERVALS = 2


class Rounds:
    """Counts rounds.

    count  how many began
    late   of these, more than two intervals after the one before
    """

    def __init__(self) -> None:
        self.count = self.late = 0
        self._began_s: float | None = None

    def begin(self, now_s: float, interval_s: float) -> None:
        """A round begins.

        >>> rounds = Rounds()
        >>> for now_s in (5.0, 5.125, 5.5):
        ...     rounds.begin(now_s, 0.125)
        >>> rounds.count, rounds.late
        (3, 1)
        """
        self.count += 1
        if self._began_s is not None and now_s - self._began_s > LATE_INTERVALS * interval_s:
            self.late += 1
        self._began_s = now_s
