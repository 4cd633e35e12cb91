"""The harness itself: what an input does to its process is counted, and costs no other input."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fuzz.run
from fuzz import harness
from fuzz.harness import BATCH, ROOM_BYTES, Result, Silent, Totals, run
from pghot.errors import UsageError


class Bad:
    """Each input does what its seed says."""

    NAME = "bad"

    def make(self, rng: random.Random, folder: Path) -> Any:
        (folder / "input").write_text(str(rng.random()))
        return int(folder.name)

    def check(self, made: Any) -> str:
        match made % 10:
            case 0:
                raise UsageError("no such thing", "name another")
            case 1:
                raise UsageError("two\nlines", "name another")
            case 2:
                raise UsageError("no remedy")
            case 3:
                raise Silent("a row more")
            case 4:
                raise KeyError("rows")
            case 5:
                os.kill(os.getpid(), signal.SIGSEGV)
            case 6:
                while True:
                    pass
            case 7:
                signal.pause()
            case 8:
                np.zeros(2 * ROOM_BYTES, np.uint8)
        return "accepted"


def test_every_end_is_counted_and_the_next_input_runs() -> None:
    results = list(run(Bad(), range(20), cpu_s=0.2, clock_s=2))
    assert [result.seed for result in results] == list(range(20))
    ends = [
        *("refused", "unhelpful", "unhelpful", "silent", "traceback"),
        *("died", "hang", "hang", "traceback", "accepted"),
    ]
    assert [result.outcome for result in results] == 2 * ends
    assert "KeyError: 'rows'" in results[4].text
    assert "MemoryError" in results[8].text
    assert "in check" in results[6].text  # where it hung
    totals = Totals()
    for result in results:
        totals.add(result)
    assert totals.inputs == 20
    assert len(totals.defects) == 16
    assert 0 < totals.peak_bytes < ROOM_BYTES


def test_an_input_depends_on_its_seed_alone(tmp_path: Path) -> None:
    class Drawn(Bad):
        drawn: list[float] = []  # noqa: RUF012

        def make(self, rng: random.Random, folder: Path) -> Any:
            (tmp_path / f"{folder.name}.{rng.random()}").touch()
            return 9

    for seeds in (range(6), range(3, 9)):
        assert {result.outcome for result in run(Drawn(), seeds)} == {"accepted"}
    assert len(list(tmp_path.iterdir())) == 9


def test_each_kind_gets_the_same_time_so_that_the_quick_ones_get_more_inputs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In 1800 s, of which a batch of 300 slow inputs takes 600 and one of quick ones 150: slow, quick four times, slow,
    quick four times."""
    cost_s, now = {"slow": 2.0, "quick": 0.5}, [0.0]

    def checked(kind: Any, seeds: range) -> Iterator[Result]:
        for seed in seeds:
            now[0] += cost_s[kind.NAME]
            yield Result(seed, "accepted")

    monkeypatch.setattr(harness, "run", checked)
    monkeypatch.setattr(fuzz.run, "time", SimpleNamespace(monotonic=lambda: now[0]))
    kinds: list[Any] = [SimpleNamespace(NAME="slow"), SimpleNamespace(NAME="quick")]
    totals = fuzz.run._run(kinds, 5, None, 1799.9, lambda _: None)
    assert {name: total.inputs for name, total in totals.items()} == {"slow": 600, "quick": 1200}

    totals = fuzz.run._run(kinds, 5, BATCH + 1, None, lambda _: None)
    assert {name: total.inputs for name, total in totals.items()} == {"slow": BATCH + 1, "quick": BATCH + 1}
