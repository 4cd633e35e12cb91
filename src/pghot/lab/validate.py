"""`validate`: rerun a published experiment in the lab and compare the simulated cells with the published ones.

A validation is a TOML file: tiers, workload, the runs to compare, the published cells and the bar. A user adds
one without code; `docs/validation.md` explains the keys.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from pghot.documents import Shipped, Strict
from pghot.errors import PghotError, UsageError, shortened, unknown_name
from pghot.lab.bench import Bench
from pghot.lab.epochs import Epochs, measure_epochs
from pghot.lab.metrics import Figures
from pghot.lab.outcomes import RunOutcome, summarise_runs
from pghot.lab.run_spec import RunSpec
from pghot.lab.setting import Setting, checked_setting
from pghot.lab.workloads.workload_files import workload_from_table
from pghot.sim.machine.topology import Topology, load_topology
from pghot.sim.policies import POLICIES
from pghot.units import parse_share

SCHEMA = "pghot.validate/1"
Progress = Callable[[int, int], None]


class RunTable(Strict):
    """A policy, its sources and its options: `lab.bench.RunSpec` as TOML."""

    policy: str
    sources: tuple[str, ...] | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    source_options: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def spec(self) -> RunSpec:
        default = POLICIES.make(self.policy, **self.options).default_sources
        sources = default if self.sources is None else self.sources
        spec = RunSpec(self.policy, sources, self.options, self.source_options)
        # What is published ran in the kernel, or with its authors' own patches: never as pghot in user space.
        return replace(spec, where=spec.places()[-1])


class Axis(Strict):
    """A row or a column: what it changes. `set` names keys by path, such as "tiers.nodes.1.latency_ns"."""

    label: str
    set: dict[str, Any] = Field(default_factory=dict)
    run: RunTable | None = None
    base: RunTable | None = None


class Value(Strict):
    """What a cell is: a metric of `run`, divided by or dividing that of `base`.

    normalise  "base / run" or "run / base"
    """

    run: RunTable | None = None
    base: RunTable | None = None
    metric: str = "steady_time_s"
    form: Literal["base / run", "run / base", "run"] = "base / run"


class PublishedCells(Strict):
    """cells: as published, row by row. fitted: which of them parameters were chosen by; all others are predicted."""

    cells: tuple[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], ...]
    fitted: tuple[tuple[bool, ...], ...] = ()

    def is_fitted(self, row: int, column: int) -> bool:
        return bool(self.fitted) and self.fitted[row][column]


class Validation(Strict):
    """A validation file.

    bar           largest relative error of a cell that passes; mean_bar is that of their mean, and by default the same
    order_matters the runs of each row must also come in the published order; ties_within is the relative
                  difference below which two published cells count as equal
    """

    name: str
    title: str
    published_in: str
    bar: float = Field(gt=0)
    mean_bar: float | None = Field(None, gt=0)
    order_matters: bool = False
    ties_within: float = Field(0.02, ge=0)
    notes: tuple[str, ...] = ()
    value: Value = Value()
    rows: tuple[Axis, ...] = Field(min_length=1)
    columns: tuple[Axis, ...] = Field(min_length=1)
    published: PublishedCells
    setting: dict[str, Any] = Field(default_factory=dict)
    workload: dict[str, Any]
    tiers: str | dict[str, Any]

    @model_validator(mode="after")
    def _shape(self) -> Validation:
        if len(self.published.cells) != len(self.rows):
            raise ValueError(f"published.cells has {len(self.published.cells)} rows, not {len(self.rows)}")
        for row in self.published.cells:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of published.cells has {len(row)} cells, not {len(self.columns)}")
        if self.published.fitted and [len(row) for row in self.published.fitted] != [
            len(row) for row in self.published.cells
        ]:
            raise ValueError("published.fitted must have as many cells as published.cells")
        return self


@dataclass(frozen=True, slots=True)
class Cell:
    """A published value beside the simulated one, by the labels of its row and column.

    fitted  parameters were chosen so that it comes out; otherwise it is predicted
    """

    row: str
    column: str
    published: float
    simulated: float
    fitted: bool = False

    @property
    def error(self) -> float:
        """Relative to the published value."""
        return self.simulated / self.published - 1

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "error": self.error}


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """The cells of a validation, row by row, and where the order of a row's cells is not the published one."""

    name: str
    title: str
    published_in: str
    bar: float
    cells: list[Cell]
    order_errors: list[str]
    notes: tuple[str, ...]
    mean_bar: float | None = None

    @property
    def worst_error(self) -> float:
        return max(abs(cell.error) for cell in self.cells)

    @property
    def mean_error(self) -> float:
        return sum(abs(cell.error) for cell in self.cells) / len(self.cells)

    @property
    def ok(self) -> bool:
        mean_bar = self.bar if self.mean_bar is None else self.mean_bar
        return self.worst_error <= self.bar and self.mean_error <= mean_bar and not self.order_errors

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "name": self.name,
            "title": self.title,
            "published_in": self.published_in,
            "ok": self.ok,
            "bar": self.bar,
            "mean_bar": self.mean_bar,
            "worst_error": self.worst_error,
            "mean_error": self.mean_error,
            "order_errors": self.order_errors,
            "cells": [cell.to_dict() for cell in self.cells],
            "notes": list(self.notes),
        }


VALIDATIONS = Shipped(Validation, "validation", "validations")
load_validation = VALIDATIONS.load


def run_validation(name: str | Path, progress: Progress = lambda done, total: None) -> ValidationResult:
    """Rerun the experiment; `progress` gets (cells done, cells in all), at first (0, cells)."""
    validation = load_validation(name)
    with _errors_of(validation.name):
        simulated = _Grid(validation).simulate(progress)
    cells = [
        Cell(
            row.label,
            column.label,
            validation.published.cells[i][j],
            simulated[i][j],
            validation.published.is_fitted(i, j),
        )
        for i, row in enumerate(validation.rows)
        for j, column in enumerate(validation.columns)
    ]
    return ValidationResult(
        validation.name,
        validation.title,
        validation.published_in,
        validation.bar,
        cells,
        _order_errors(validation, simulated),
        validation.notes,
        validation.mean_bar,
    )


@contextlib.contextmanager
def _errors_of(name: str) -> Iterator[None]:
    """Errors raised inside name the validation."""
    try:
        yield
    except PghotError as error:
        raise type(error)(f"validation '{shortened(name)}': {error}", error.hint) from None


def _order_errors(validation: Validation, simulated: list[list[float]]) -> list[str]:
    """Pairs of a row's cells whose simulated order contradicts the published one."""
    if not validation.order_matters:
        return []
    wrong = []
    for i, row in enumerate(validation.rows):
        published = validation.published.cells[i]
        for a, first in enumerate(validation.columns):
            for b, second in enumerate(validation.columns):
                low, high = published[a], published[b]
                if not low * (1 + validation.ties_within) < high:
                    continue
                if simulated[i][a] >= simulated[i][b]:
                    wrong.append(f"{row.label}: '{first.label}' should be below '{second.label}'")
    return wrong


class _Grid:
    """Runs the cells. All runs on one trace, machine and setting share a bench, and are replayed together."""

    def __init__(self, validation: Validation) -> None:
        self.validation = validation
        self._epochs: dict[str, Epochs] = {}
        self._wanted: dict[str, list[RunSpec]] = {}  # runs of each setting that are not played yet
        self._figures: dict[str, Figures] = {}

    def simulate(self, progress: Progress) -> list[list[float]]:
        rows, columns = self.validation.rows, self.validation.columns
        runs = {
            (i, j): self._runs(row, column) for i, row in enumerate(rows) for j, column in enumerate(columns)
        }
        for settings, specs in runs.values():
            wanted = self._wanted.setdefault(repr(settings), [])
            wanted += [spec for spec in specs if spec not in wanted]
        out: list[list[float]] = [[] for _ in rows]
        progress(0, len(runs))
        for (i, _), (settings, specs) in runs.items():
            out[i].append(self._cell(settings, specs))
            progress(sum(map(len, out)), len(runs))
        return out

    def _runs(self, row: Axis, column: Axis) -> tuple[dict[str, Any], list[RunSpec]]:
        """The settings of a cell, and its run and base; the run alone if that is the value."""
        value = self.validation.value
        run = column.run or row.run or value.run
        base = column.base or row.base or value.base
        settings = self._settings({**row.set, **column.set})
        if run is not None and value.form == "run":
            return settings, [run.spec()]
        if run is None or base is None:
            raise UsageError(
                f"cell {row.label}/{column.label} names no run or base",
                "give `run` and `base` in [value], in the row or in the column",
            )
        return settings, [run.spec(), base.spec()]

    def _cell(self, settings: dict[str, Any], specs: list[RunSpec]) -> float:
        found = [self._metric(spec, settings) for spec in specs]
        if self.validation.value.form == "run":
            return found[0]
        mine, other = found
        return other / mine if self.validation.value.form == "base / run" else mine / other

    def _settings(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Tiers, workload and setting tables with the cell's changes."""
        tiers = self.validation.tiers
        table = {
            "tiers": load_topology(tiers).model_dump() if isinstance(tiers, str) else copy.deepcopy(tiers),
            "workload": copy.deepcopy(self.validation.workload),
            "setting": dict(self.validation.setting),
        }
        for path, value in changes.items():
            _assign(table, path, value)
        return table

    def _metric(self, spec: RunSpec, settings: dict[str, Any]) -> float:
        key = repr((spec, settings))
        if key not in self._figures:
            together = self._wanted.pop(repr(settings))
            for each, figures in zip(together, self._play(together, settings), strict=True):
                self._figures[repr((each, settings))] = figures
        metric = self.validation.value.metric
        values = {name: value for name, value in asdict(self._figures[key]).items() if value is not None}
        if metric not in values:
            raise unknown_name("metric with a value", metric, list(values))
        return float(values[metric])

    def _play(self, specs: list[RunSpec], settings: dict[str, Any]) -> list[Figures]:
        """Means over the seeds, for each run."""
        setting = _setting(settings["setting"])
        topology = _topology(settings["tiers"])
        runs: list[RunOutcome] = []
        for seed in range(setting.first_seed, setting.first_seed + setting.seeds):
            epochs = self._trace(settings["workload"], seed, setting)
            try:
                runs += Bench(epochs.trace, topology, setting, seed, epochs).play(specs, lambda part: None)
            except TypeError as error:  # options go to constructors, which know their own names
                names = ", ".join(spec.label for spec in specs)
                raise UsageError(f"runs {names}: {error}", "correct their options") from error
        return [summary.figures for summary in summarise_runs(runs)]

    def _trace(self, workload: dict[str, Any], seed: int, setting: Setting) -> Epochs:
        key = repr((workload, seed, setting.epoch_slices))
        if key not in self._epochs:
            self._epochs.clear()  # one trace in memory at a time
            self._epochs[key] = measure_epochs(
                workload_from_table(workload, "workload", seed), setting.epoch_slices
            )
        return self._epochs[key]


def _setting(table: dict[str, Any]) -> Setting:
    values = {"fast_share": None, **table}
    if values["fast_share"] is not None:
        values["fast_share"] = parse_share(values["fast_share"])
    if values.get("duration_s") == "one-pass":
        values["duration_s"] = None
    return checked_setting("setting", values)


def _topology(table: dict[str, Any]) -> Topology:
    try:
        return Topology.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"tiers.{key}: {first['msg']}", "correct the value") from error


def _assign(table: Any, path: str, value: Any) -> None:
    """Set `path` ("tiers.nodes.1.latency_ns") in nested tables and lists."""
    *parents, last = path.split(".")
    if not parents or parents[0] not in table:
        raise UsageError(
            f"it sets '{shortened(path)}', which is none of its tables",
            f"begin the path with one of {', '.join(table)}",
        )
    try:
        for part in parents:
            table = table[int(part)] if isinstance(table, list | tuple) else table.setdefault(part, {})
        table[int(last) if isinstance(table, list) else last] = value
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"it sets '{shortened(path)}', which does not exist", "correct the path") from error
