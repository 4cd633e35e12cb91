"""The gate in front of every promotion: free-space bypass, dynamic threshold, too-old test, rate limit.

It applies the tests of the kernel's NUMA balancing mode 2 (FACTS section 3), with one state for each target node.
The published versions count some refusals twice and lose others; both are options (`engine.settings.FAITHFUL`).
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import F64, I16, I64, U8
from pghot.engine.settings import EngineSettings
from pghot.engine.store import Candidates
from pghot.jit import njit

THRESHOLD_PERIOD_MS = 60_000
RATE_WINDOW_MS = 1_000
BYPASS_BYTES = 1 << 30
THRESHOLD_STEPS = 16

# Verdicts: the first two promote the page.
FREE_SPACE, RATE_OK, TOO_OLD, RATE_LIMITED, UNREACHED = range(5)

# Columns of the state, one row for each node.
TH, TH_START, DEMAND, RL_START, RL_COUNT, RL_GRANT, WAITING = range(7)
COLUMNS = 7

# Entries of the totals.
CANDIDATES, NOT_LIMITED, COLD, LIMITED = range(4)


class Gate:
    """The gate's state for all target nodes."""

    def __init__(self, settings: EngineSettings, window_ms: int, adapts: bool = True) -> None:
        """window_ms  where the dynamic threshold starts: a page must be younger than about that
        adapts     False: the threshold stays there
        """
        # In the lab a page stands for many, and the limit may be less than one a second: fractions are carried on.
        self.pages_per_s = settings.rate_limit_mb_s * (1 << 20) / settings.page_bytes / settings.group_pages
        self._bypass_pages = int(BYPASS_BYTES / settings.page_bytes / settings.group_pages)
        self._window_ms, self._adapts = window_ms, adapts
        self._count_refused = "candidate-counts-refused" in settings.faithful
        self._state = new_state(settings.nodes)
        self._totals = np.zeros(4, np.int64)

    def judge(
        self,
        candidates: Candidates,
        now_ms: int,
        span_ms: int,
        free_pages: I64,
        node_pages: I64,
        high_watermark_pages: I64,
        max_pages: int,
    ) -> U8:
        """A verdict for each candidate, in order: uint8[K].

        span_ms    kernel ms that this round stands for: the rate limit grants its whole seconds, at least one
        max_pages  the pages after so many admissions are UNREACHED
        """
        if not self._adapts:
            self._state[:, TH_START] = now_ms  # the period after which it is adapted never ends
        verdict = np.empty(len(candidates), np.uint8)
        enough = high_watermark_pages + np.maximum(self._bypass_pages, node_pages // 16)
        judge(
            candidates.node,
            candidates.age_ms,
            self._state,
            free_pages.astype(np.int64, copy=True),
            enough.astype(np.int64, copy=False),
            self.pages_per_s,
            self.pages_per_s * max(1, span_ms // RATE_WINDOW_MS),
            self._window_ms,
            now_ms,
            max_pages,
            self._count_refused,
            verdict,
            self._totals,
        )
        return verdict

    def threshold_ms(self, node: int) -> int:
        """The age from which a page for this node is too old, kernel ms."""
        return int(self._state[node, TH]) or self._window_ms

    def counters(self) -> dict[str, int]:
        """The gate's counters, as declared in `pghot.counters`."""
        return {
            "pgpromote_candidate": int(self._totals[CANDIDATES]),
            "pgpromote_candidate_nrl": int(self._totals[NOT_LIMITED]),
            "kpromoted_cold_old": int(self._totals[COLD]),
            "pgpromote_rate_limited": int(self._totals[LIMITED]),
        }


def new_state(nodes: int) -> F64:
    """The gate's state before its first page: float64[nodes, COLUMNS]. A start of -1: not yet started."""
    state = np.zeros((nodes, COLUMNS))
    state[:, TH_START] = -1
    state[:, RL_START] = -1
    return state


@njit(cache=True)
def adjust_threshold(s: F64, pages_per_s: float, window_ms: int, now_ms: int) -> None:
    """Move one node's threshold a step when its period is over: down if too many pages asked, up if few did.

    s  float64[COLUMNS], the node's state
    """
    if s[TH_START] < 0:
        s[TH_START] = now_ms
    elapsed = now_ms - s[TH_START]
    if elapsed < THRESHOLD_PERIOD_MS:
        return
    threshold = s[TH] if s[TH] > 0 else window_ms
    unit = max(2 * window_ms // THRESHOLD_STEPS, 1)
    # A clock may jump over several periods: the demand is that of all of them.
    expected = pages_per_s * (elapsed // THRESHOLD_PERIOD_MS * (THRESHOLD_PERIOD_MS // 1000))
    if 10 * s[DEMAND] > 11 * expected:
        threshold = max(threshold - unit, unit)
    elif 10 * s[DEMAND] < 9 * expected:
        threshold = min(threshold + unit, 2 * window_ms)
    s[TH] = threshold
    s[TH_START] = now_ms
    s[DEMAND] = 0


@njit(cache=True)
def open_rate_window(s: F64, budget: float, now_ms: int) -> None:
    """Open a node's rate window when the last one is over; what that one admitted beyond its grant counts in this one.

    s  float64[COLUMNS], the node's state

    A grant of 2.5 pages admits the third, and the next window begins with half a page.
    """
    if s[RL_START] < 0:
        s[RL_START] = now_ms
    elapsed = now_ms - s[RL_START]
    if elapsed >= RATE_WINDOW_MS:
        s[RL_COUNT] = max(0.0, s[RL_COUNT] - s[RL_GRANT] * (elapsed // RATE_WINDOW_MS))
        s[RL_START] = now_ms
        s[RL_GRANT] = budget
    s[RL_GRANT] = max(s[RL_GRANT], budget)


@njit(cache=True)
def judge(
    node: I16,
    age_ms: I64,
    state: F64,
    free: I64,
    enough: I64,
    pages_per_s: float,
    budget: float,
    window_ms: int,
    now_ms: int,
    max_pages: int,
    count_refused: bool,
    verdict: U8,
    totals: I64,
) -> None:
    """Judge candidates in order, writing `verdict`, `state`, `totals` and the remaining `free` pages.

    node, age_ms           int16[K], int64[K]   target and age of each candidate
    state                  float64[nodes, COLUMNS]
    free, enough           int64[nodes]  free pages, and how many must be free for the bypass to hold
    pages_per_s, budget    the rate limit, and what of it one rate window grants now
    count_refused          a page counts as a candidate each time it is judged (published); otherwise only
                           admitted pages do, and a page that waits over several rounds counts once towards
                           the demand that moves the threshold
    """
    waited = state[:, WAITING].copy()
    state[:, WAITING] = 0
    admitted = 0
    for i in range(node.shape[0]):
        if admitted >= max_pages:
            verdict[i] = UNREACHED
            continue
        n = node[i]
        s = state[n]
        if free[n] > enough[n]:
            s[TH] = 0
            totals[NOT_LIMITED] += 1
            free[n] -= 1
            admitted += 1
            verdict[i] = FREE_SPACE
            continue
        adjust_threshold(s, pages_per_s, window_ms, now_ms)
        if age_ms[i] >= (s[TH] if s[TH] > 0 else window_ms):
            totals[COLD] += 1
            verdict[i] = TOO_OLD
            continue
        open_rate_window(s, budget, now_ms)
        if count_refused or waited[n] == 0:
            s[DEMAND] += 1
        else:
            waited[n] -= 1
        if s[RL_COUNT] >= budget:
            totals[LIMITED] += 1
            totals[CANDIDATES] += count_refused
            s[WAITING] += 1
            verdict[i] = RATE_LIMITED
            continue
        s[RL_COUNT] += 1
        totals[CANDIDATES] += 1
        free[n] -= 1
        admitted += 1
        verdict[i] = RATE_OK
