"""The gate by worked examples: bypass, threshold, too old, rate limit (FACTS 3)."""

from __future__ import annotations

import numpy as np
import pytest

from pghot.engine.gate import (
    DEMAND,
    FREE_SPACE,
    RATE_LIMITED,
    RATE_OK,
    TH,
    TH_START,
    TOO_OLD,
    UNREACHED,
    WAITING,
    Gate,
    adjust_threshold,
    new_state,
)
from pghot.engine.settings import EngineSettings
from pghot.engine.store import Candidates

WINDOW_MS = 5000
ZEROS = np.zeros(3, np.int64)


def make(pages_per_s: float = 0, page_bytes: int = 4096, **changes) -> Gate:
    """Nodes 0 and 1 on top; the limit in pages a second: 256 pages of 4096 bytes are a MiB."""
    settings = EngineSettings(
        "precise",
        100,
        page_bytes,
        3,
        (0, 1),
        0,
        rate_limit_mb_s=changes.pop("rate_limit_mb_s", pages_per_s * page_bytes / 2**20),
        **changes,
    )
    return Gate(settings, WINDOW_MS)


def candidates(*ages_ms: int, node: int = 0) -> Candidates:
    size = len(ages_ms)
    numbers = np.arange(size, dtype=np.uint32)
    return Candidates(numbers, np.full(size, node, np.int16), np.array(ages_ms, np.int64), numbers)


def judge(gate, found, now_ms, span_ms=100, free=ZEROS, node_pages=ZEROS, high=ZEROS, max_pages=10**9):
    return gate.judge(found, now_ms, span_ms, free, node_pages, high, max_pages).tolist()


@pytest.mark.parametrize(
    "rate_limit_mb_s, page_bytes, scale, pages_per_s",
    [
        (10, 4096, 1, 2560),  # 10 * 2**20 / 4096
        (10, 4096, 4, 640),  # 2560 / 4
        (65_536, 2 << 20, 1, 32_768),  # 65536 MiB / 2 MiB
        (3, 2 << 20, 1, 1.5),
        (1, 2 << 20, 1, 0.5),  # a page each other second
        (0, 4096, 1, 0),  # nothing when asked for
    ],
)
def test_the_rate_limit_in_pages(rate_limit_mb_s, page_bytes, scale, pages_per_s):
    gate = make(rate_limit_mb_s=rate_limit_mb_s, page_bytes=page_bytes, group_pages=scale)
    assert gate.pages_per_s == pages_per_s


def test_a_node_with_a_gib_free_above_its_watermark_takes_pages_at_once():
    # 1 GiB = 262144 pages of 4096 bytes; with a watermark of 100 pages 262244 must stay free.
    free = np.array([262_246, 262_245, 0])
    gate, high = make(), np.array([100, 100, 0])
    assert judge(gate, candidates(0, 0, 0), 0, free=free, high=high) == [FREE_SPACE, FREE_SPACE, RATE_LIMITED]
    assert judge(gate, candidates(0, 0, node=1), 0, free=free, high=high) == [FREE_SPACE, RATE_LIMITED]
    assert free.tolist() == [262_246, 262_245, 0]
    assert gate.counters()["pgpromote_candidate_nrl"] == 3


def test_scale_and_page_size_divide_the_gib():
    # 1 GiB / 2 MiB / 4 = 128 pages.
    gate = make(page_bytes=2 << 20, group_pages=4)
    free = np.array([130, 0, 0])
    assert judge(gate, candidates(0, 0, 0), 0, free=free) == [FREE_SPACE, FREE_SPACE, RATE_LIMITED]


def test_a_sixteenth_of_a_large_node_is_more_than_the_gib():
    # 1 GiB / 4096 / 1024 = 256 pages; 8191 // 16 = 511 pages, and 100 of the watermark: 611.
    gate, free = make(group_pages=1024), np.array([613, 0, 0])
    verdict = judge(
        gate, candidates(0, 0, 0), 0, free=free, node_pages=np.full(3, 8191), high=np.full(3, 100)
    )
    assert verdict == [FREE_SPACE, FREE_SPACE, RATE_LIMITED]


def test_the_bypass_takes_pages_of_any_age_and_takes_the_threshold_back():
    gate, free = make(group_pages=1024), np.array([1000, 0, 0])
    gate._state[0, TH] = 625
    assert gate.threshold_ms(0) == 625
    assert judge(gate, candidates(10**6), 0, free=free) == [FREE_SPACE]
    assert gate.threshold_ms(0) == 5000


def test_a_page_as_old_as_the_window_is_too_old_and_asks_for_nothing():
    gate = make(pages_per_s=10)
    assert judge(gate, candidates(4999, 5000, 5001), 0) == [RATE_OK, TOO_OLD, TOO_OLD]
    assert gate._state[0, DEMAND] == 1
    assert gate.counters() == {
        "pgpromote_candidate": 1,
        "pgpromote_candidate_nrl": 0,
        "kpromoted_cold_old": 2,
        "pgpromote_rate_limited": 0,
    }


def test_the_node_s_threshold_takes_the_window_s_place():
    gate = make(pages_per_s=10)
    gate._state[0, TH] = 625
    assert judge(gate, candidates(624, 625), 0) == [RATE_OK, TOO_OLD]
    assert judge(gate, candidates(4999, node=1), 0) == [RATE_OK]


def test_the_rate_limit_is_granted_anew_each_1000_ms_since_its_start():
    gate = make(pages_per_s=2)
    assert judge(gate, candidates(0, 0, 0), 300) == [RATE_OK, RATE_OK, RATE_LIMITED]
    assert judge(gate, candidates(0), 1299) == [RATE_LIMITED]
    assert judge(gate, candidates(0, 0, 0), 1300) == [RATE_OK, RATE_OK, RATE_LIMITED]
    assert judge(gate, candidates(0), 2299) == [RATE_LIMITED]
    assert gate.counters()["pgpromote_candidate"] == 4
    assert gate.counters()["pgpromote_rate_limited"] == 4


def test_a_grant_of_part_of_a_page_is_carried_on():
    gate = make(pages_per_s=0.375)
    admitted = [judge(gate, candidates(0), 1000 * second) == [RATE_OK] for second in range(8)]
    # A second admits while less than 0.375 is owed: 0, 0.625, 0.25, 0.875, 0.5, 0.125, 0.75, 0.375.
    assert admitted == [True, False, True, False, False, True, False, False]
    assert sum(admitted) == 8 * 0.375


def test_each_node_has_a_limit_of_its_own():
    gate = make(pages_per_s=1)
    both = Candidates(
        np.arange(4, dtype=np.uint32),
        np.array([0, 1, 0, 1], np.int16),
        np.zeros(4, np.int64),
        np.zeros(4, np.uint32),
    )
    assert judge(gate, both, 0) == [RATE_OK, RATE_OK, RATE_LIMITED, RATE_LIMITED]


@pytest.mark.parametrize("span_ms, granted", [(20, 2), (999, 2), (1999, 2), (2000, 4), (3500, 6)])
def test_a_round_of_several_seconds_grants_its_whole_seconds(span_ms, granted):
    gate = make(pages_per_s=2)
    assert judge(gate, candidates(*[0] * 10), 0, span_ms=span_ms).count(RATE_OK) == granted


def test_pages_after_max_pages_admissions_are_not_judged():
    gate = make(pages_per_s=2, group_pages=1)
    # Too old, then two within the limit; refused ones do not count towards max_pages.
    assert judge(gate, candidates(9999, 0, 0, 0), 0, max_pages=2) == [TOO_OLD, RATE_OK, RATE_OK, UNREACHED]
    assert judge(gate, candidates(0), 1000, max_pages=0) == [UNREACHED]
    free = np.array([10**6, 0, 0])
    assert judge(gate, candidates(0, 0), 2000, free=free, max_pages=1) == [FREE_SPACE, UNREACHED]


def test_a_page_that_waits_asks_once():
    gate = make(pages_per_s=1)
    # Three ask, one is admitted, two wait; the two ask no second time, a third newcomer does.
    judge(gate, candidates(0, 0, 0), 0)
    assert gate._state[0, [DEMAND, WAITING]].tolist() == [3, 2]
    judge(gate, candidates(0, 0), 100)
    assert gate._state[0, [DEMAND, WAITING]].tolist() == [3, 2]
    judge(gate, candidates(0, 0, 0), 200)
    assert gate._state[0, [DEMAND, WAITING]].tolist() == [4, 3]
    assert gate.counters()["pgpromote_candidate"] == 1


def test_published_every_judgement_asks_and_counts():
    gate = make(pages_per_s=1, faithful=frozenset({"candidate-counts-refused"}))
    for now_ms in (0, 100):
        judge(gate, candidates(0, 0, 0), now_ms)
    assert gate._state[0, DEMAND] == 6
    assert gate.counters()["pgpromote_candidate"] == 6
    assert gate.counters()["pgpromote_rate_limited"] == 5  # all but the first


def state(threshold: int = 0, start: int = 0, demand: int = 0) -> np.ndarray:
    row = new_state(1)[0]
    row[[TH, TH_START, DEMAND]] = threshold, start, demand
    return row


def after(row, now_ms, pages_per_s=10, window_ms=WINDOW_MS) -> list[int]:
    adjust_threshold(row, pages_per_s, window_ms, now_ms)
    return row[[TH, TH_START, DEMAND]].tolist()


def test_the_first_call_starts_the_period():
    assert after(state(start=-1, demand=9), 700) == [0, 700, 9]
    assert after(state(start=0, demand=9), 59_999) == [0, 0, 9]


# 10 pages a second are 600 in the period; within a tenth is 540 to 660. A step is 2 * 5000 // 16 = 625 ms.
@pytest.mark.parametrize(
    "demand, threshold", [(0, 5625), (539, 5625), (540, 5000), (600, 5000), (660, 5000), (661, 4375)]
)
def test_a_step_up_when_few_ask_and_down_when_many(demand, threshold):
    assert after(state(demand=demand), 60_000) == [threshold, 60_000, 0]


def test_the_threshold_stays_between_one_step_and_two_windows():
    assert after(state(threshold=9000), 60_000)[0] == 9625
    assert after(state(threshold=9625), 60_000)[0] == 10_000
    assert after(state(threshold=10_000), 60_000)[0] == 10_000
    assert after(state(threshold=1300, demand=9999), 60_000)[0] == 675
    assert after(state(threshold=675, demand=9999), 60_000)[0] == 625
    assert after(state(threshold=625, demand=9999), 60_000)[0] == 625


# From 1000 to 151000 ms are two whole periods: 1200 pages, within a tenth 1080 to 1320.
@pytest.mark.parametrize("demand, threshold", [(1079, 5625), (1080, 5000), (1320, 5000), (1321, 4375)])
def test_a_jump_over_several_periods_judges_the_demand_of_all(demand, threshold):
    assert after(state(start=1000, demand=demand), 151_000) == [threshold, 151_000, 0]


def test_the_smallest_window_still_has_a_step_of_1_ms():
    assert after(state(threshold=2, demand=9999), 60_000, window_ms=7)[0] == 1  # 14 // 16 = 0
    assert after(state(threshold=2), 60_000, window_ms=20)[0] == 4  # 40 // 16 = 2
