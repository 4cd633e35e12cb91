"""The one way in which tests wait: for an event, behind a guard that only what hangs runs into.

How long something takes on a machine that others use says nothing: at a load of 25 on two CPUs a second is a quarter
of a minute. The guard costs nothing while the event comes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from pghot.live.sources.recorded import Replay

# Emulated CPUs are slower by themselves, and a load of 25 makes them slower again.
GUARD_S = 1200.0 if "PGHOT_GUEST" in os.environ else 600.0


def until(
    holds: Callable[[], object],
    what: str,
    shown: Callable[[], object] | None = None,
    every_s: float = 0.05,
    guard_s: float = GUARD_S,
) -> float:
    """Returns after how many seconds it held.

    what   what should come about, for the message when it did not
    shown  what to show then
    """
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > guard_s:
            found = f": {shown()}" if shown else ""
            raise AssertionError(f"not within {guard_s:g} s: {what}{found}")
        time.sleep(every_s)
    return time.monotonic() - began


def at_each_round(monkeypatch: pytest.MonkeyPatch, does: Callable[[int], object]) -> None:
    """Have a run over a replayed recording in this process call `does` in each of its rounds, with the round's number
    from 1 on: its handlers of signals and its targets are there by then."""
    poll, rounds = Replay.poll, 0

    def polled(source: Replay, now_ms: int) -> object:
        nonlocal rounds
        rounds += 1
        does(rounds)
        return poll(source, now_ms)

    monkeypatch.setattr(Replay, "poll", polled)
