"""Two results of `compare --json` side by side: what else was assumed, and which runs gain more or less."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from pghot.documents import read_text
from pghot.errors import UsageError
from pghot.printable import printable

_HINT = "give what `pghot compare --json` printed"


class ResultRow(BaseModel):
    """A run over all seeds, as `compare --json` prints it; what is not looked at is left out."""

    label: str
    speedup: float | None
    speedup_ci95: float | None
    fast_miss_share: float | None
    moved_mb: float | None

    @property
    def gain(self) -> float | None:
        """Over 'none', as a share."""
        return None if self.speedup is None else self.speedup - 1


class ResultVerdict(BaseModel):
    headline: str


class Result(BaseModel):
    """A document of `compare --json`."""

    kind: Literal["pghot.compare/1"] = Field(alias="schema")
    setup: Mapping[str, Any]
    summary: tuple[ResultRow, ...]
    verdict: ResultVerdict


def read_result(path: Path) -> Result:
    """A result. Raises `UsageError` for what is none."""
    text = read_text(path, "result", _HINT)
    try:
        return Result.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"'{printable(str(path))}' is no result of compare: {f'{where}: ' if where else ''}{first['msg']}",
            _HINT,
        ) from None


@dataclass(frozen=True, slots=True)
class RunChange:
    """A run before and after; None: it was not run, or (its gain) there is no 'none' to compare with."""

    label: str
    before: ResultRow | None
    after: ResultRow | None

    @property
    def gained(self) -> float | None:
        """How much more it gains over 'none' than before, as a share."""
        gains = [row.gain if row else None for row in (self.before, self.after)]
        return None if gains[0] is None or gains[1] is None else gains[1] - gains[0]

    @property
    def apart(self) -> bool:
        """Whether the 95 % intervals of the two gains have nothing in common."""
        if self.gained is None or self.before is None or self.after is None:
            return False
        return abs(self.gained) > (self.before.speedup_ci95 or 0.0) + (self.after.speedup_ci95 or 0.0)


@dataclass(frozen=True, slots=True)
class ResultsDifference:
    """setup: what was not the same, each with its value before and after. runs: those that changed most come first."""

    before: Result
    after: Result
    setup: Mapping[str, tuple[Any, Any]]
    runs: tuple[RunChange, ...]


def results_difference(before: Result, after: Result) -> ResultsDifference:
    """What changed."""
    old, new = ({row.label: row for row in result.summary} for result in (before, after))
    runs = [RunChange(label, old.get(label), new.get(label)) for label in dict.fromkeys([*old, *new])]
    runs.sort(key=lambda run: -abs(run.gained or 0.0))
    keys = dict.fromkeys([*before.setup, *after.setup])
    pairs = {key: (before.setup.get(key), after.setup.get(key)) for key in keys}
    setup = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    return ResultsDifference(before, after, setup, tuple(runs))
