"""Slow, plain versions of the kernels of `pghot.engine.gate`."""

from __future__ import annotations

from fractions import Fraction

from pghot.arrays import F64, I16, I64, U8
from pghot.engine.gate import (
    DEMAND,
    FREE_SPACE,
    RATE_LIMITED,
    RATE_OK,
    RATE_WINDOW_MS,
    RL_COUNT,
    RL_GRANT,
    RL_START,
    TH,
    TH_START,
    THRESHOLD_PERIOD_MS,
    THRESHOLD_STEPS,
    TOO_OLD,
    UNREACHED,
    WAITING,
)


def judge_reference(
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
    """`judge` by the published rules in plain Python, one page at a time."""
    promoted = [0] * len(state)
    waited, refused = state[:, WAITING].tolist(), [0] * len(state)
    judged = [0] * len(state)
    for i, (n, age) in enumerate(zip(node.tolist(), age_ms.tolist(), strict=True)):
        if sum(promoted) >= max_pages:
            verdict[i] = UNREACHED
        elif free[n] - promoted[n] > enough[n]:
            verdict[i] = FREE_SPACE
            state[n, TH] = 0
        else:
            state[n, :3] = _threshold_reference(state[n].tolist(), pages_per_s, window_ms, now_ms)
            threshold = int(state[n, TH]) or window_ms
            verdict[i] = TOO_OLD if age >= threshold else RATE_OK
            if verdict[i] == RATE_OK:
                if state[n, RL_START] == -1:
                    state[n, RL_START] = now_ms
                windows = (now_ms - int(state[n, RL_START])) // RATE_WINDOW_MS
                if windows:
                    beyond = Fraction(state[n, RL_COUNT]) - windows * Fraction(state[n, RL_GRANT])
                    state[n, RL_START], state[n, RL_GRANT] = now_ms, 0
                    state[n, RL_COUNT] = float(max(Fraction(0), beyond))
                state[n, RL_GRANT] = max(state[n, RL_GRANT], budget)
                judged[n] += 1
                state[n, DEMAND] += count_refused or judged[n] > waited[n]
                verdict[i] = RATE_OK if state[n, RL_COUNT] < budget else RATE_LIMITED
                state[n, RL_COUNT] += verdict[i] == RATE_OK
        promoted[n] += verdict[i] <= RATE_OK
        refused[n] += verdict[i] == RATE_LIMITED
    state[:, WAITING] = refused
    free -= promoted
    seen = [int((verdict == value).sum()) for value in range(5)]
    totals += [seen[1] + seen[3] * count_refused, seen[0], seen[2], seen[3]]


def _threshold_reference(
    s: list[float], pages_per_s: float, window_ms: int, now_ms: int
) -> tuple[int, int, int]:
    """Threshold, start and demand of one node after the dynamic threshold's rule."""
    threshold, start, demand = s[TH], now_ms if s[TH_START] == -1 else s[TH_START], s[DEMAND]
    periods = (now_ms - start) // THRESHOLD_PERIOD_MS
    if periods < 1:
        return threshold, start, demand
    threshold = threshold or window_ms
    unit = max(1, 2 * window_ms // THRESHOLD_STEPS)
    expected = Fraction(pages_per_s) * 60 * periods
    ratio = Fraction(demand) / expected if expected else Fraction(demand)
    if ratio > Fraction(11, 10) or (not pages_per_s and demand):
        return max(unit, threshold - unit), now_ms, 0
    if ratio < Fraction(9, 10) and pages_per_s:
        return min(2 * window_ms, threshold + unit), now_ms, 0
    return threshold, now_ms, 0
