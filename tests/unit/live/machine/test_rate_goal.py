"""A goal moves the rate: figures by hand, and what holds for any course of things."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pghot.errors import UsageError
from pghot.live.live_settings import LiveSettings, check_goal
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.machine.pace import Pace
from pghot.live.machine.rate_goal import LEAST, PAUSE_MS, Goal, RateGoal, parse_goal
from pghot.live.targets import Targets

S, MIB = 10**9, 1 << 20
USED = Goal("fast-used", 0.9)


def shares(goal: RateGoal, *used: float, guard: float = 1.0, start_ms: int = 0) -> list[float]:
    """Part of the rate after each second in which so much was in use."""
    found = []
    for number, each in enumerate(used, 1):
        goal.tick(start_ms + 1000 * number, each, guard)
        found.append(round(goal.share, 6))
    return found


def test_the_rate_falls_with_the_distance_and_begins_again_beyond_the_slack() -> None:
    """Full from a tenth away; 0.05 / 0.1 = a half; 0.01 / 0.1 = 0.1; a sixteenth at least; nothing at the goal.
    Again only from more than 0.02 away: 0.021 / 0.1 = 0.21."""
    goal = RateGoal(USED, 0)
    assert shares(goal, 0.2, 0.8, 0.85, 0.89, 0.899, 0.9) == [1, 1, 0.5, 0.1, LEAST, 0]
    assert shares(goal, 0.89, 0.881, 0.879, 0.95, start_ms=6000) == [0, 0, 0.21, 0]


def test_a_second_is_judged_at_its_end() -> None:
    goal = RateGoal(USED, 0)
    goal.tick(999, 0.95, 1.0)
    assert (goal.share, goal.measured) == (1.0, None)
    goal.tick(1000, 0.95, 1.0)
    assert (goal.share, goal.measured) == (0.0, 0.95)


def test_ping_pong_stops_it_for_half_a_minute_and_then_it_tries_with_little() -> None:
    goal = RateGoal(USED, 0)
    assert shares(goal, 0.5) == [1]
    assert shares(goal, *[0.5] * 30, guard=0.5, start_ms=1000) == [0] * 30
    assert shares(goal, 0.5, 0.5, guard=0.5, start_ms=1000 + PAUSE_MS) == [LEAST] * 2
    assert shares(goal, 0.5, guard=0.25, start_ms=40_000) == [0], "it is worse: another pause"
    assert shares(goal, 0.5, guard=1.0, start_ms=41_000 + PAUSE_MS) == [1], "it is over"


def test_what_was_seen_counts_half_after_each_second() -> None:
    """90 of 100; then (45 + 0) of (50 + 100); then nothing new: the same."""
    goal = RateGoal(Goal("hot-on-fast", 0.95), 0)
    assert shares(goal, 0.0) == [1]
    assert goal.measured is None, "nothing was seen yet"
    goal.saw(90, 10)
    assert shares(goal, 0.0, start_ms=1000) == [0.5]
    assert goal.measured == 0.9
    goal.saw(0, 100)
    assert shares(goal, 0.0, start_ms=2000) == [1]
    assert goal.measured == pytest.approx(0.3)
    goal.tick(4000, 0.0, 1.0)
    assert goal.measured == pytest.approx(0.3)
    assert goal.facts() == {"kind": "hot-on-fast", "wanted": 0.95, "measured": 0.3, "rate_share": 1.0}


def test_a_pace_at_its_goal_promotes_nothing_though_its_bucket_is_full() -> None:
    """1 MiB/s are 256 pages in the first second. Within it, a group has nothing either."""
    whole = Pace(1.0, 0, goal=RateGoal(USED, 0))
    group = Pace(1.0, 0, whole)
    for pace in (whole, group):
        pace.tick(S, fast_used=0.5)
    assert (whole.pages(), group.pages()) == (256, 256)
    for pace in (whole, group):
        pace.tick(2 * S, fast_used=0.9)
    assert (whole.pages(), group.pages()) == (0, 0)
    group.guard.share = 0.5
    whole.tick(3 * S, fast_used=0.5)
    assert whole.pages() == 0, "pages of a group go up and down"


def test_half_the_rate_is_half_the_pages() -> None:
    """A guard that leaves a half: 1 MiB/s for ten seconds in tenths, taken as it comes, are 1280 pages and not 2560."""
    pace = Pace(1.0, 0)
    pace.guard.share = 0.5
    for tenth in range(1, 101):
        pace.guard._then_ms = tenth * 100  # it says nothing of its own meanwhile
        pace.tick(tenth * S // 10)
        pace.spend(pace.pages(), 0)
    assert pace.promoted == 1280


RATES = st.integers(1, 100)  # pages a second, of a node of 1000 pages


@given(st.integers(0, 1000), st.integers(0, 1000), RATES)
def test_on_a_node_that_only_we_fill_the_goal_is_reached_once_and_kept(
    used: int, wanted: int, rate: int
) -> None:
    """The rate never rises on the way, the goal is overrun by a sixteenth of a second's pages at most, and after it
    nothing moves."""
    goal = RateGoal(Goal("fast-used", wanted / 1000), 0)
    level, course = float(used), []
    for second in range(1, 5000):
        goal.tick(second * 1000, level / 1000, 1.0)
        course.append(goal.share)
        level += goal.share * rate
        if goal.share == 0 and course[-3:] == [0, 0, 0]:
            break
    assert course[-1] == 0, "it is reached"
    assert course == sorted(course, reverse=True)
    assert level >= wanted - 1e-6
    assert level <= max(used, wanted + LEAST * rate + 1e-6)


@given(st.integers(0, 100), st.integers(1, 100), st.integers(1, 20))
def test_of_a_steady_hot_set_the_wanted_share_comes_to_the_fast_tier_and_stays(
    on_fast: int, wanted: int, rate: int
) -> None:
    """A hundred hot pages, all seen each second."""
    goal = RateGoal(Goal("hot-on-fast", wanted / 100), 0)
    fast, course = float(on_fast), []
    for second in range(1, 3000):
        goal.saw(round(1000 * fast), round(1000 * (100 - fast)))
        goal.tick(second * 1000, 0.0, 1.0)
        course.append(goal.share)
        fast = min(100.0, fast + goal.share * rate)
    assert course[-1] == 0
    assert fast >= wanted - 0.01
    assert 0 not in course[: course.index(0)]
    assert set(course[course.index(0) :]) == {0}, "no rate after it"


@given(
    st.floats(0.01, 20),
    st.lists(st.tuples(st.integers(1, 1500), st.floats(0, 1), st.floats(1 / 64, 1)), min_size=1, max_size=60),
)
def test_no_course_of_things_makes_it_promote_above_its_rate(
    rate: float, course: list[tuple[int, float, float]]
) -> None:
    pace = Pace(rate, 0, goal=RateGoal(USED, 0))
    now_ms = 0
    for pause_ms, used, guard in course:
        now_ms += pause_ms
        pace.guard.share = guard
        pace.tick(now_ms * 1_000_000, used)
        assert 0 <= pace.share <= 1
        pace.spend(pace.pages(), 0)
    assert pace.promoted * 4096 <= rate * MIB * now_ms / 1000 + 4096


# ---- what is said


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no goal named"),
        ("banana", "unknown goal 'banana'"),
        ("fast-used", "has no share"),
        ("fast-used=", "is not a share"),
        ("hot-on-fast=190%", "is not a share"),
    ],
)
def test_what_is_no_goal(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_goal(text)


def test_a_goal_that_no_source_can_measure_is_refused() -> None:
    def settings(goal: str, *sources: str) -> LiveSettings:
        return LiveSettings(Targets((1,)), sources, mover=MoverSettings.model_validate({"target": goal}))

    with pytest.raises(
        UsageError, match=r"the goal hot-on-fast=0\.9 needs accesses on every tier, but faults sees"
    ):
        check_goal(settings("hot-on-fast=90%", "faults"))
    check_goal(settings("hot-on-fast=90%", "faults", "idle"))
    check_goal(settings("fast-used=90%", "faults"))
