"""What the cells of a study say together: at each of its points, all seeds as one comparison, and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from pghot.lab.comparison_setup import NodeSetup, Setup, Timing
from pghot.lab.metrics import METRICS, Figures
from pghot.lab.outcomes import RunOutcome, SummaryRow, summarise_runs
from pghot.lab.similarity import Similarity
from pghot.lab.sweep.cell import Cell, Point
from pghot.lab.sweep.driver import Failure
from pghot.lab.sweep.sweep_folder import setup_of
from pghot.lab.verdict import Verdict, judge

SCHEMA = "pghot.sweep/1"


@dataclass(frozen=True, slots=True)
class PointFound:
    """A point of the study. `seeds`: those whose cells are there, ascending. `rows`: means over them."""

    point: Point
    seeds: Sequence[int]
    rows: Sequence[SummaryRow]
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        return {
            **asdict(self.point),
            "seeds": list(self.seeds),
            "verdict": self.verdict.to_dict(),
            "summary": [row.to_dict() for row in self.rows],
        }


@dataclass(frozen=True, slots=True)
class Sweep:
    """What `pghot sweep` found.

    cells     of the study; `computed` of them now, `there` before
    others    cells of other versions of the code that are in the folder, and not used
    failures  cells that could not be computed
    """

    study: str
    folder: str
    code: str
    cells: int
    computed: int
    there: int
    others: int
    failures: Sequence[Failure]
    points: Sequence[PointFound]

    def to_dict(self) -> dict[str, Any]:
        facts = {
            name: getattr(self, name) for name in ("study", "folder", "code", "cells", "computed", "there")
        }
        failures = [
            {**asdict(each.cell.point), "seed": each.cell.setting.first_seed, "reason": each.reason}
            for each in self.failures
        ]
        return {
            "schema": SCHEMA,
            "simulated": True,
            **facts,
            "other_versions": self.others,
            "failed": failures,
            "points": [each.to_dict() for each in self.points],
        }


def points_of(
    cells: Sequence[Cell],
    read: Callable[[str], pa.Table],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[PointFound]:
    """The points of a study, in its order, from the tables of its cells, one point after the other.

    read  gives the table of a cell by its key
    """
    by_point: dict[Point, list[Cell]] = {}
    for cell in cells:
        by_point.setdefault(cell.point, []).append(cell)
    found = []
    for done, (point, same) in enumerate(by_point.items()):
        progress(done, len(by_point))
        same.sort(key=lambda cell: cell.setting.first_seed)
        found.append(
            _point(point, [cell.setting.first_seed for cell in same], [read(cell.key) for cell in same])
        )
    return found


def _point(point: Point, seeds: Sequence[int], tables: Sequence[pa.Table]) -> PointFound:
    rows = summarise_runs([_outcome(row) for table in tables for row in table.to_pylist()])
    setup = replace(_setup(setup_of(tables[-1])), seeds=len(seeds), first_seed=seeds[0])
    return PointFound(point, seeds, rows, judge(rows, setup))


def _outcome(row: Mapping[str, Any]) -> RunOutcome:
    """A run from its row in a cell's file."""
    kept: dict[str, Any] = {
        **{name: row[name] for name in ("label", "policy", "kind", "runs_on", "seed", "access", "mover")},
        **{name: tuple(row[name]) for name in ("sources", "options", "sampling")},
        **{name: dict(row[name]) for name in ("node_shares", "counters", "held_back")},
    }
    figures = Figures(**{metric.name: row[metric.name] for metric in METRICS})
    return RunOutcome(**kept, figures=figures, samples=())


def _setup(facts: Mapping[str, Any]) -> Setup:
    return Setup(
        **{
            **facts,
            "similarity": Similarity(**facts["similarity"]),
            "timing": Timing(**facts["timing"]),
            "nodes": tuple(NodeSetup(**node) for node in facts["nodes"]),
            "warnings": tuple(facts["warnings"]),
        }
    )
