"""The outcome of a comparison: Arrow tables, the setup they belong to, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pghot.errors import PghotError
from pghot.lab.metrics import METRICS, mean_and_interval
from pghot.lab.verdict import Verdict, judge
from pghot.sim.machine.topology import Topology

SCHEMA = "pghot.compare/1"
_IDENTITY = ("label", "policy", "kind", "sources", "options")


@dataclass(slots=True)
class Comparison:
    """What `compare` returns. All figures are simulated.

    setup     what was replayed, on which machine, under which scaling
    runs      one row for each policy, sources, options and seed; columns as in `lab.metrics.METRICS`
    summary   one row for each policy, sources and options: means over seeds, and `<metric>_ci95`, the half-width of the
              95 % confidence interval (null with one seed)
    timeline  one row for each epoch of each run: times, moves, coverage
    verdict   in words
    """

    setup: dict[str, Any]
    runs: pa.Table
    summary: pa.Table
    timeline: pa.Table
    verdict: Verdict
    bounds: list[dict[str, Any]] = field(default_factory=list)

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
            "setup": self.setup,
            "summary": self.summary.to_pylist(),
            "runs": self.runs.to_pylist(),
            "bounds": self.bounds,
            "verdict": self.verdict.to_dict(),
        }


def collect(rows: Sequence[dict[str, Any]], setup: Mapping[str, Any], topology: Topology) -> Comparison:
    """Tables and verdict from the rows of `compare`, which carry their epoch samples under "samples"."""
    _add_ratios(rows)
    timeline = _timeline(rows, topology)
    runs = [{key: value for key, value in row.items() if key != "samples"} for row in rows]
    summary = _summary(runs)
    return Comparison(dict(setup), _runs_table(runs), _table(summary), timeline, judge(summary, setup))


def _add_ratios(rows: Sequence[dict[str, Any]]) -> None:
    """The baselines are those whose label is their policy's name: without sources and options, there in every plan."""
    for row in rows:
        base = {other["label"]: other for other in rows if other["seed"] == row["seed"]}
        none, fast = (base[name] if _whole(base[name], row) else None for name in ("none", "all-fast"))
        warm = row["warmup_time_s"]
        row["speedup"] = none["steady_time_s"] / row["steady_time_s"] if none else None
        row["speedup_warmup"] = none["warmup_time_s"] / warm if none and warm else None
        row["slowdown"] = row["steady_time_s"] / fast["steady_time_s"] if fast else None


def _whole(*rows: Mapping[str, Any]) -> bool:
    """Whether all these runs did all their work: without a tenant's, times cannot be compared."""
    return not any(row["killed_tenants"] for row in rows)


def _summary(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each label; no two runs of a seed share one, see `lab.bench.labels`."""
    labels = list(dict.fromkeys(run["label"] for run in runs))
    summary = []
    for label in labels:
        same = [run for run in runs if run["label"] == label]
        row = {key: same[0][key] for key in _IDENTITY}
        row["seeds"] = len(same)
        for metric in METRICS:
            mean, half = mean_and_interval([run[metric.name] for run in same])
            row[metric.name], row[f"{metric.name}_ci95"] = mean, half
        names = same[0]["node_shares"]
        row["node_shares"] = {
            name: sum(run["node_shares"][name] for run in same) / len(same) for name in names
        }
        row["sampling"] = same[0]["sampling"]
        summary.append(row)
    return summary


def _runs_table(runs: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Counters differ from policy to policy: they become a map column."""
    columns = [{**run, "counters": list(run["counters"].items())} for run in runs]
    schema = _table(
        [{key: value for key, value in row.items() if key != "counters"} for row in columns]
    ).schema
    return pa.Table.from_pylist(
        columns, schema.append(pa.field("counters", pa.map_(pa.string(), pa.int64())))
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """An Arrow table whose metrics are float64 even where no row has a value."""
    metrics = {name for metric in METRICS for name in (metric.name, f"{metric.name}_ci95")}
    inferred = pa.Table.from_pylist(list(rows)).schema
    fields = [pa.field(f.name, pa.float64()) if f.name in metrics else f for f in inferred]
    fields = [
        pa.field(f.name, pa.list_(pa.string())) if f.name in ("sources", "options", "sampling") else f
        for f in fields
    ]
    return pa.Table.from_pylist(
        [{k: float(v) if k in metrics and v is not None else v for k, v in row.items()} for row in rows],
        pa.schema(fields),
    )


def _timeline(rows: Sequence[Mapping[str, Any]], topology: Topology) -> pa.Table:
    """Differences between the samples of neighbouring epochs."""
    lower = [rank > 0 for rank in topology.ranks()]
    out = []
    for row in rows:
        before = None
        for epoch, sample in enumerate(row["samples"]):
            served = [
                now - (before.served[node] if before else 0.0) for node, now in enumerate(sample.served)
            ]
            total = sum(served)
            out.append(
                {
                    "label": row["label"],
                    "seed": row["seed"],
                    "epoch": epoch,
                    "elapsed_s": sample.elapsed_ns / 1e9,
                    "duration_ms": (sample.elapsed_ns - (before.elapsed_ns if before else 0.0)) / 1e6,
                    "fast_miss_share": sum(s for s, low in zip(served, lower, strict=True) if not low) / total
                    if total
                    else None,
                    "promotions": sample.promoted - (before.promoted if before else 0),
                    "demotions": sample.demoted - (before.demoted if before else 0),
                    "coverage": None if sample.coverage != sample.coverage else sample.coverage,
                    "used_share": list(sample.used_share),
                    "latency_ns": list(sample.latency_ns),
                }
            )
            before = sample
    return pa.Table.from_pylist(out)
