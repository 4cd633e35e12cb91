"""Consumers get one answer of each kind per round, however many ask, made in bounded steps."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pghot.daemon.answers import MOST_ROWS, STEP_ROWS, Answers, Request, read_request
from pghot.errors import PghotError
from pghot.live.hot import By, Hottest

PAGES = 3 * STEP_ROWS + 7


class Made:
    """Answers, and what was made for them."""

    def __init__(self) -> None:
        self.made: list[Any] = []
        self.answers = Answers(self._status, self._hot)  # type: ignore[arg-type]
        self.hottest = PAGES

    def _status(self) -> dict[str, Any]:
        self.made.append("status")
        return {"made": len(self.made), "nothing_seen": ["no time yet"]}

    def _hot(self, top: int, by: By) -> Hottest:
        self.made.append((top, by))
        of_all = np.arange(min(top, self.hottest))
        return Hottest(
            of_all.astype(np.int32), of_all.astype(np.uint64), of_all.astype(np.uint32), of_all.astype(np.int16),
            of_all.astype(np.uint32),
        )  # fmt: skip

    def since(self) -> list[Any]:
        made, self.made = self.made, []
        return made

    def told(self, **request: Any) -> tuple[bytes, int]:
        """The answer to a request, and in how many steps it was made."""
        answer, steps = self.answers.to(Request(**request)), 0
        while answer.text is None:
            answer.step()
            steps += 1
        return answer.text, steps

    def rows(self, **request: Any) -> list[dict[str, int]]:
        found: list[dict[str, int]] = json.loads(self.told(get="hot", **request)[0])["hot"]
        return found


def test_many_who_ask_in_one_round_get_the_same_answer() -> None:
    made = Made()
    assert len({made.told(get="status")[0] for _ in range(5)}) == 1
    assert [len(made.rows(top=top, by="page")) for top in (20, 5, 20, 7)] == [20, 5, 20, 7]
    assert [row["heat"] for row in made.rows(top=3, by="page")] == [0, 1, 2]
    assert len(made.rows(top=PAGES + 40, by="region")) == PAGES  # there are no more
    assert made.since() == ["status", (20, "page"), (PAGES + 40, "region")]
    assert len(made.rows(top=25, by="page")) == 25  # more than were made
    assert made.since() == [(25, "page")]
    made.answers.next_round()
    assert made.since() == [], "nothing is made for nobody"
    made.told(get="status")
    assert made.since() == ["status"]


def test_many_rows_are_made_in_steps_and_are_of_one_round() -> None:
    made = Made()
    answer = made.answers.to(Request(get="hot", top=PAGES))
    answer.step()
    made.answers.next_round()
    made.hottest = 1
    while answer.text is None:
        answer.step()
    found = json.loads(answer.text)
    assert [row["address"] for row in found["hot"]] == list(range(PAGES))
    assert (found["schema"], found["by"], found["nothing_seen"]) == ("pghot.hot/1", "region", [])
    made.hottest = PAGES
    made.answers.next_round()
    assert made.told(get="hot", top=PAGES)[1] == 5  # four pieces of 512 rows at most, and what holds them
    assert made.told(get="hot", top=1)[1] == 2


def test_without_rows_it_says_why_and_arrow_has_them_all() -> None:
    made = Made()
    body = made.told(get="hot", top=MOST_ROWS, form="arrow")[0]
    head, _, stream = body.partition(b"\n")
    assert json.loads(head) == {"bytes": len(stream)}
    assert pa.ipc.open_stream(stream).read_all()["pid"].to_pylist() == list(range(PAGES))
    made.hottest = 0
    made.answers.next_round()
    assert json.loads(made.told(get="hot")[0]) == {
        "schema": "pghot.hot/1", "by": "region", "nothing_seen": ["no time yet"], "hot": [],
    }  # fmt: skip


def test_what_could_not_be_made_fails_for_all_who_wait_for_it_and_is_tried_in_the_next_round() -> None:
    made = Made()

    def fail() -> Any:
        raise PghotError("no descriptor left")

    broken = Answers(fail, made._hot)
    answer = broken.to(Request(get="status"))
    for _ in range(3):
        with pytest.raises(PghotError, match="no descriptor left"):
            answer.step()
    broken._make_status = made._status  # type: ignore[assignment]
    broken.next_round()
    again = broken.to(Request(get="status"))
    while again.text is None:
        again.step()
    assert json.loads(again.text)["made"] == 1


@pytest.mark.parametrize(
    "text, what",
    [
        (b"", "request: "),
        (b"null", "request: "),
        (b"[" * 60_000, "request: "),
        (b'{"get":' * 8_000, "request: "),
        (b'{"get": "hot", "top": ' + b"9" * 60_000 + b"}", "top: |request: "),
        (b'{"get": "hot", "top": 1e400}', "top: |request: "),
        (b'{"get": "hot", "top": NaN}', "top: |request: "),
        (b'{"get": "hot", "top": 131073}', "top: "),
        (b'{"get": "hot", "every_ms": -1}', "every_ms: "),
        (b'{"get": "hot", "every_ms": true}', "every_ms: "),
        (b'{"get": "hot", "every_ms": "20"}', "every_ms: "),
        (b'{"get": "hot", "top": 20.0}', "top: "),
        (b'{"get": "st\xff\xfeatus"}', "request: "),
        (b'{"get": "\\ud800"}', "get: |request: "),
        (b'{"get": "status", "' + b"k" * 60_000 + b'": 1}', "k: "),
        (b'{"get": "status", "get": "hot", "\\u0000": 1}', "\0: "),
    ],
)
def test_a_hostile_line_is_named_briefly(text: bytes, what: str) -> None:
    with pytest.raises(PghotError, match=what) as caught:
        read_request(text)
    assert len(str(caught.value)) < 500
    json.dumps(str(caught.value)).encode()
