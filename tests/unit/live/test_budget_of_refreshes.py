"""Looking at the programs takes at most half of what `--max-cpu` allows."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from builders.live_loop import START, FakeKernel, install, maps_line, register
from pghot.live import loop as loop_module
from pghot.live.budget import Budget
from pghot.live.live_settings import LiveSettings
from pghot.live.loop import Live
from pghot.live.targets import Targets

PID = 500


@pytest.mark.parametrize(
    ("limit", "took_s", "looks"),
    [
        (5.0, 0.061, 24),  # 61 ms in 2.5 %: after 2.44 s, in the 25th round; a minute has 24 times 2.5 s
        (5.0, 0.024, 60),  # 24 ms in 2.5 %: one in a second, as without a limit
        (50.0, 0.061, 60),
        (math.inf, 0.5, 60),
        (10.0, 0.5, 6),  # 500 ms in 5 %: one in 10 s
    ],
)
def test_looks_come_less_often_when_they_take_long(
    limit: float, took_s: float, looks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, clock = FakeKernel(tmp_path), [10**6]
    kernel.program(PID, [maps_line(START, 64)])
    install(kernel, monkeypatch)
    register(monkeypatch)
    settings = LiveSettings(Targets((PID,)), ("scripted",), apply=True, max_cpu_percent=limit)
    live = Live(kernel.root, settings, None, lambda: clock[0] * 1_000_000)
    used, seen = [0.0], [0]
    refresh = live.spaces.refresh

    def look(pids: object) -> object:
        used[0] += took_s
        seen[0] += 1
        return refresh(pids)  # type: ignore[arg-type]

    monkeypatch.setattr(live.spaces, "refresh", look)
    monkeypatch.setattr(loop_module, "cpu_seconds", lambda: used[0])
    live.start()
    for _ in range(600):
        clock[0] += 100
        live.tick()
    assert seen[0] == 1 + looks


def pauses_ms(budget: Budget, *looks_s: float) -> list[float]:
    return [budget.pause_ms(look_s) for look_s in looks_s]


def test_the_pause_leaves_half_of_the_limit_to_the_rest() -> None:
    assert pauses_ms(Budget(4.0, 0.0), 0.1, 0.1, 0.1)[1:] == [5000.0, 5000.0]
    assert pauses_ms(Budget(math.inf, 0.0), 100.0, 100.0, 100.0) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("at", [0, 1, 2, 5])
def test_one_look_that_took_seconds_is_no_reason_to_be_blind_for_minutes(at: int) -> None:
    """4 s of compiling in 2.5 % would be 160 s."""
    looks_s = [0.01] * 6
    looks_s[at] = 4.0
    assert max(pauses_ms(Budget(5.0, 0.0), *looks_s)) == pytest.approx(400.0)


def test_where_every_second_look_is_dear_all_of_them_keep_to_the_limit() -> None:
    found = pauses_ms(Budget(4.0, 0.0), *[0.01, 0.19] * 20)
    assert sum(found[2:]) / 38 == pytest.approx(5000.0)
