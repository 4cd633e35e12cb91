"""The outcome of a comparison: its rows, the setup they belong to, and the verdict; here they become Arrow and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from pghot.errors import PghotError
from pghot.lab.bounds import TraceBounds
from pghot.lab.comparison_setup import Setup
from pghot.lab.metrics import METRICS, Figures
from pghot.lab.outcomes import EpochRow, RunOutcome, SummaryRow, epoch_rows, summarise_runs
from pghot.lab.stood_still import why_still
from pghot.lab.verdict import Verdict, judge
from pghot.sim.machine.topology import Topology

SCHEMA = "pghot.compare/1"
# By how much of a figure all samples may be off alike, as their mean does not tell: added to the interval of the seeds.
SAMPLE_ERROR = 0.03


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` returns. All figures are simulated.

    setup     what was replayed, on which machine, under which scaling
    rows      one for each policy, sources, options and access rule: means over seeds
    epochs    one for each epoch of each run: times, moves, coverage
    runs      table: one row for each of `rows` and seed; columns as in `lab.metrics.METRICS`
    summary   table of `rows`; `<metric>_ci95` is the half-width of the 95 % confidence interval (null with one seed),
              `stood_still` the reason why a mover did not move (null: it did)
    timeline  table of `epochs`
    verdict   in words
    bounds    of each seed, when they were asked for
    """

    setup: Setup
    rows: Sequence[SummaryRow]
    epochs: Sequence[EpochRow]
    runs: pa.Table
    summary: pa.Table
    timeline: pa.Table
    verdict: Verdict
    bounds: Sequence[TraceBounds]

    def to_pandas(self, table: str = "summary") -> Any:
        """A table ("summary", "runs", "timeline") as a pandas DataFrame.

        Raises `PghotError` when pandas is not installed.
        """
        try:
            return getattr(self, table).to_pandas()
        except ImportError as error:
            raise PghotError(
                "pandas is not installed", "pip install pandas, or use the Arrow tables"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Everything but the timeline as plain JSON-able values, under a `schema` key."""
        return {
            "schema": SCHEMA,
            "simulated": True,
            "setup": self.setup.to_dict(),
            "summary": self.summary.to_pylist(),
            "runs": self.runs.to_pylist(),
            "bounds": [bounds.to_dict() for bounds in self.bounds],
            "verdict": self.verdict.to_dict(),
        }


def collect(
    runs: Sequence[RunOutcome], setup: Setup, topology: Topology, bounds: Sequence[TraceBounds] = ()
) -> Comparison:
    """Rows, tables and verdict from the runs of `compare`."""
    runs = [_with_ratios(run, runs) for run in runs]
    rows = summarise_runs(runs, SAMPLE_ERROR if setup.sample else 0.0)
    lower = [rank > 0 for rank in topology.ranks()]
    epochs = [row for run in runs for row in epoch_rows(run, lower)]
    return Comparison(
        setup=setup,
        rows=rows,
        epochs=epochs,
        runs=_runs_table(runs),
        summary=_table(
            [{**row.to_dict(), "stood_still": why_still(row, setup.footprint_pages)} for row in rows]
        ),
        timeline=pa.Table.from_pylist([asdict(row) for row in epochs]),
        verdict=judge(rows, setup),
        bounds=bounds,
    )


def _with_ratios(run: RunOutcome, runs: Sequence[RunOutcome]) -> RunOutcome:
    """The run, with how it compares with the baselines of its seed."""
    own = run.figures
    none, fast, demotion, fixed = (
        _baseline(name, run, runs) for name in ("none", "all-fast", "demotion", "oracle-static")
    )
    return replace(
        run,
        figures=replace(
            own,
            speedup=none.steady_time_s / own.steady_time_s if none else None,
            speedup_warmup=none.warmup_time_s / own.warmup_time_s if none and own.warmup_time_s else None,
            slowdown=own.steady_time_s / fast.steady_time_s if fast else None,
            over_demotion=demotion.steady_time_s / own.steady_time_s if demotion else None,
            over_fixed=fixed.steady_time_s / own.steady_time_s if fixed else None,
        ),
    )


def _baseline(name: str, run: RunOutcome, runs: Sequence[RunOutcome]) -> Figures | None:
    """The run of a policy that listens to no source, under the run's seed and access rule; 'none' is in every plan.

    None when it was not run, and when it or the run did not do all its work: times do not compare then.
    """
    same = (run.seed, run.access)
    for other in runs:
        if other.policy == name and not other.sources and (other.seed, other.access) == same:
            return None if other.figures.killed_tenants or run.figures.killed_tenants else other.figures
    return None


def _runs_table(runs: Sequence[RunOutcome]) -> pa.Table:
    return _table([run.to_dict() for run in runs])


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """An Arrow table whose metrics are float64 even where no row has a value, and whose lists are of text.

    Counters and reasons differ from policy to policy: they are maps.
    """
    metrics = {name for metric in METRICS for name in (metric.name, f"{metric.name}_ci95")}
    texts, counts = {"sources", "options", "sampling"}, {"counters", "held_back"}
    known = {
        "stood_still": pa.string(),
        **dict.fromkeys(metrics, pa.float64()),
        **dict.fromkeys(texts, pa.list_(pa.string())),
        **dict.fromkeys(counts, pa.map_(pa.string(), pa.int64())),
    }
    rows = [{k: float(v) if k in metrics and v is not None else v for k, v in row.items()} for row in rows]
    inferred = pa.Table.from_pylist(rows).schema
    fields = [pa.field(field.name, known.get(field.name, field.type)) for field in inferred]
    rows = [{k: list(v.items()) if k in counts else v for k, v in row.items()} for row in rows]
    return pa.Table.from_pylist(rows, pa.schema(fields))
