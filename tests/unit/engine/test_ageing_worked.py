"""When sweeps are due, in figures computed by hand."""

from __future__ import annotations

import pytest

from pghot.engine.ageing import Ageing


@pytest.mark.parametrize(
    "window, oldest, prune_age, keep, slack",
    [
        # default: half way 23 + 8 // 2 = 27, below 2 * 23; 31 - 27 = 4 ticks are left.
        (23, 31, 2.0, 27, 4),
        # precise: 2 * 5000, below half way 5000 + 11383 // 2 = 10691; a window, below 16383 - 10000.
        (5000, 16_383, 2.0, 10_000, 5000),
        # precise, half a window more: 2.5 * 5000 = 12500 is over half way; 16383 - 10691 = 5692 is over a window.
        (5000, 16_383, 2.5, 10_691, 5000),
        # One window is the least that is kept.
        (5000, 16_383, 1.0, 5000, 5000),
        # A window as long as the layout (time-aliasing): nothing is left for a sweep.
        (31, 31, 2.0, 31, 0),
        # A window below one tick.
        (0, 31, 2.0, 0, 1),
        # Shares of a tick are cut off: 1.5 * 3 = 4.5.
        (3, 100, 1.5, 4, 3),
    ],
)
def test_what_is_kept_and_how_long_a_sweep_can_wait(window, oldest, prune_age, keep, slack):
    ageing = Ageing(window, oldest, prune_age)
    assert (ageing.keep, ageing.slack) == (keep, slack)


def test_a_sweep_is_due_after_more_than_the_slack_since_the_last():
    ageing = Ageing(23, 31, 2.0)
    assert [now for now in range(8) if ageing.overdue(now)] == [5, 6, 7]
    ageing.swept(5)
    assert [now for now in range(5, 13) if ageing.overdue(now)] == [10, 11, 12]


def test_the_stamp_is_the_latest_time_of_a_record():
    ageing = Ageing(23, 31, 2.0)
    assert ageing.stamp == 0
    for now, stamp in ((7, 7), (3, 7), (9, 9)):
        ageing.recorded(now)
        assert ageing.stamp == stamp
