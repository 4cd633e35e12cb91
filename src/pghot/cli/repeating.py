"""A report again and again, as `vmstat` does: INTERVAL COUNT."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pghot.cli.given import GoesWith

COUNTED = GoesWith("an INTERVAL", lambda of: of["interval"], ("count",))


def times(interval_s: float, count: int) -> Iterator[int]:
    """Yield once for each report, and sleep between two. Interval 0: one report. Count 0: no limit."""
    done = 0
    while True:
        yield done
        done += 1
        if not interval_s or done == count:
            return
        time.sleep(interval_s)
