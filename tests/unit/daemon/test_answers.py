"""Consumers get one answer of each kind per round, however many ask."""

from __future__ import annotations

from typing import Any

import numpy as np

from pghot.daemon.answers import Answers
from pghot.live.hot import By, Hottest


class Made:
    """Answers, and what was made for them."""

    def __init__(self) -> None:
        self.made: list[Any] = []
        self.answers = Answers(self._status, self._hot)  # type: ignore[arg-type]

    def _status(self) -> dict[str, int]:
        self.made.append("status")
        return {"made": len(self.made)}

    def _hot(self, top: int, by: By) -> Hottest:
        self.made.append((top, by))
        of_all = np.arange(min(top, 30))
        return Hottest(
            of_all.astype(np.int32), of_all.astype(np.uint64), of_all.astype(np.uint32), of_all.astype(np.int16),
            of_all.astype(np.uint32),
        )  # fmt: skip

    def since(self) -> list[Any]:
        made, self.made = self.made, []
        return made


def test_many_who_ask_in_one_round_get_the_same_answer() -> None:
    made = Made()
    assert [made.answers.status() for _ in range(5)] == [{"made": 1}] * 5
    assert [len(made.answers.hot(top, "page")) for top in (20, 5, 20, 7)] == [20, 5, 20, 7]
    assert made.answers.hot(3, "page").heat.tolist() == [0, 1, 2]
    assert len(made.answers.hot(40, "region")) == 30  # there are no more
    assert made.since() == ["status", (20, "page"), (40, "region")]
    assert len(made.answers.hot(25, "page")) == 25  # more than were made
    assert made.since() == [(25, "page")]


def test_what_was_asked_for_is_ready_when_the_round_ends_and_nothing_else_is_made() -> None:
    made = Made()
    made.answers.next_round()
    assert made.since() == []
    made.answers.status()
    made.answers.hot(5, "region")
    made.answers.hot(9, "region")
    made.since()
    made.answers.next_round()
    assert made.since() == ["status", (9, "region")]
    made.answers.status()
    made.answers.hot(8, "region")
    assert made.since() == []
    made.answers.next_round()  # nobody asked for more than 8
    assert made.since() == ["status", (8, "region")]
    made.answers.next_round()
    assert made.since() == []
    made.answers.status()
    assert made.since() == ["status"]
