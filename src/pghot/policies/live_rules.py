"""The rules of `pghot run` that do not depend on Linux: the live loop keeps to them, and so does the lab's.

So the lab can say what a released kernel with pghot in user space would do.
"""

from __future__ import annotations

from collections.abc import Iterable

from pghot.engine.accesses import Source, sees_top_tier

INTERVAL_MS = 100  # between two rounds
RATE_LIMIT_MB_S = 256.0  # promotions, MiB/s
FREE_FLOOR = 0.01  # share of a target node that stays free
BATCH_PAGES = 512  # in one move_pages call

AGEING_MS = 2000  # one ageing period: as often as the kernel's page-table scans
OLDEST = 255  # a page's age is counted no further
COLD_AGE = 2  # ageing periods unseen before a page may be demoted to make room
# The same for a page that came back after a demotion. A source that samples, or sees writes only, misses some accesses:
# being unseen says little, but having come back says much. So each hot page is demoted wrongly once at most.
RETURNED_AGE = 30
# Where the kernel's LRU picks what goes down: when its old pages are used up while more room is wanted, it is told to
# look for others, at most so often. It walks page tables, so this is seldomer than kswapd may do it.
LRU_AGEING_MS = 1000

# How much one hint fault counts: a fast one says as much as two looks of a source that only knows "touched".
FAULT_HOT_MS = 1000  # the kernel's debugfs knob hot_threshold_ms, by default
FAST_FAULT, SLOW_FAULT = 2, 1


def unseen_is_cold(sources: Iterable[Source | type[Source]]) -> bool:
    """Whether a page of the top tier that was not seen for long may be demoted as cold: some source would have seen it.

    Hint faults of the kernel's tiering mode come from below the top tier only (kernel/sched/fair.c, Linux 6.12). With
    them alone the hottest pages look oldest there. Then the kernel's own LRU picks what goes down.
    """
    return any(sees_top_tier(source) for source in sources)
