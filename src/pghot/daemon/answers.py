"""What consumers are told: one answer of each kind per round, however many ask, made a bounded step at a time.

An answer shows what was so after one round, however long it takes to make it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pghot.errors import PghotError

if TYPE_CHECKING:
    # They bring Numba, which a client does not need.
    from pghot.live.hot import By, Hottest
    from pghot.live.status_facts import StatusFacts

STEP_ROWS = 512  # in JSON: a millisecond
MOST_ROWS = 1 << 17  # of one answer: 10 MB of JSON
_SHOWN = 200  # characters of what is wrong with a request, which may quote it


class Request(BaseModel):
    """One request; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    get: Literal["status", "hot"]
    top: int = Field(20, ge=1, le=MOST_ROWS)
    by: Literal["page", "region"] = "region"
    form: Literal["json", "arrow"] = "json"
    every_ms: int = Field(0, ge=0, le=3_600_000)


class Answer:
    """An answer that is being made. `text` is there once it is done."""

    def __init__(self, steps: Generator[None, None, bytes]) -> None:
        self._steps = steps
        self._failed: Exception | None = None
        self.text: bytes | None = None

    def step(self) -> None:
        """Go on for a step. Raises `PghotError` when it cannot be made, whoever asks for the next step of it."""
        if self._failed is not None:
            raise self._failed
        if self.text is not None:
            return
        try:
            next(self._steps)
        except StopIteration as end:
            self.text = end.value
        except Exception as error:
            self._failed = error
            raise


class Answers:
    """Makes them by `status` and `hot` (how many, by what)."""

    def __init__(self, status: Callable[[], StatusFacts], hot: Callable[[int, By], Hottest]) -> None:
        self._make_status, self._make_hot = status, hot
        self._answers: dict[tuple[Any, ...], Answer] = {}
        self._status: StatusFacts | None = None
        self._hot: dict[By, tuple[int, Hottest]] = {}

    def to(self, request: Request) -> Answer:
        """As of the last round."""
        key = (request.get, request.top, request.by, request.form)
        if key not in self._answers:
            make = self._tell_status() if request.get == "status" else self._tell_hot(request)
            self._answers[key] = Answer(make)
        return self._answers[key]

    def next_round(self) -> None:
        """A round ended: what is asked for from now on is made anew."""
        self._answers, self._status, self._hot = {}, None, {}

    def _status_now(self) -> StatusFacts:
        if self._status is None:
            self._status = self._make_status()
        return self._status

    def _hottest_now(self, top: int, by: By) -> Hottest:
        if by not in self._hot or self._hot[by][0] < top:
            self._hot[by] = top, self._make_hot(top, by)
        return self._hot[by][1].head(top)

    def _tell_status(self) -> Generator[None, None, bytes]:
        yield from ()
        return line(self._status_now())

    def _tell_hot(self, request: Request) -> Generator[None, None, bytes]:
        hottest = self._hottest_now(request.top, request.by)
        if request.form == "arrow":
            body = hottest.arrow()
            return line({"bytes": len(body)}) + body
        why = [] if len(hottest) else self._status_now()["nothing_seen"]
        rows: list[str] = []
        for begin in range(0, len(hottest), STEP_ROWS):
            yield
            rows.append(json.dumps(hottest.part(begin, begin + STEP_ROWS).rows())[1:-1])
        head = json.dumps({"schema": "pghot.hot/1", "by": request.by, "nothing_seen": why})
        return f'{head[:-1]}, "hot": [{", ".join(rows)}]}}\n'.encode()


def read_request(text: bytes) -> Request:
    """The request in a line of JSON. Raises `PghotError` that says what is wrong with it."""
    try:
        return Request.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "request"
        raise PghotError(f"{where[:_SHOWN]}: {first['msg'][:_SHOWN]}") from None


def line(facts: Mapping[str, Any]) -> bytes:
    """One line of JSON."""
    return json.dumps(facts).encode() + b"\n"
