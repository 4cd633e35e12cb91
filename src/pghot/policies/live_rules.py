"""The rules of `pghot run` that do not depend on Linux: the live loop keeps to them, and so does the lab's.

So the lab can say what a released kernel with pghot in user space would do.
"""

from __future__ import annotations

INTERVAL_MS = 100  # between two rounds
RATE_LIMIT_MB_S = 256.0  # promotions, MiB/s
FREE_FLOOR = 0.01  # share of a target node that stays free
BATCH_PAGES = 512  # in one move_pages call

AGEING_MS = 2000  # one ageing period: as often as the kernel's page-table scans
OLDEST = 255  # a page's age is counted no further
COLD_AGE = 2  # ageing periods unseen before a page may be demoted to make room
# The same for a page that came back after a demotion. A source that sees only lower tiers (hint faults) never sees a
# promoted page again, so being unseen says little about it, but having come back says much. So each hot page is
# demoted wrongly once at most.
RETURNED_AGE = 30

# How much one hint fault counts: a fast one says as much as two looks of a source that only knows "touched".
FAULT_HOT_MS = 1000  # the kernel's debugfs knob hot_threshold_ms, by default
FAST_FAULT, SLOW_FAULT = 2, 1
