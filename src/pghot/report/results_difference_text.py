"""Two results of `compare --json` side by side, as lines, JSON and a table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pghot.lab.results_difference import ResultRow, ResultsDifference, RunChange
from pghot.printable import elided, printable
from pghot.units import format_percent

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = "pghot.compare-diff/1"
_NAME = 30


def lines(found: ResultsDifference) -> list[str]:
    """What `pghot report diff` prints of two results."""
    head = f"{'run':{_NAME}} {'gain %':>12} {'after':>12} {'change':>8} {'fast %':>6} {'after':>6}"
    return [*head_lines(found), "", head, *map(_row, found.runs), "", "all figures are simulated"]


def head_lines(found: ResultsDifference) -> list[str]:
    """Both verdicts, and what was assumed otherwise."""
    pairs = zip(("before", "after"), (found.before, found.after), strict=True)
    said = [
        f"{place}: {printable(str(each.setup.get('trace', '')))}: {printable(each.verdict.headline)}"
        for place, each in pairs
    ]
    for name, (old, new) in found.setup.items():
        said.append(f"not the same: {printable(name)}: {_value(old)} -> {_value(new)}")
    return said


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return elided(printable(text), 40)


def _row(run: RunChange) -> str:
    change = "" if run.gained is None else format_percent(run.gained, sign="+")
    fast = [_percent(row.fast_miss_share if row else None) for row in (run.before, run.after)]
    said = "" if run.gained is None else ("apart" if run.apart else "")
    return (
        f"{elided(printable(run.label), _NAME):{_NAME}} {gain(run.before):>12} {gain(run.after):>12} {change:>8} "
        f"{fast[0]:>6} {fast[1]:>6} {said}"
    ).rstrip()


def gain(row: ResultRow | None) -> str:
    """The gain in percent, with the half-width of its interval."""
    if row is None:
        return "not run"
    if row.gain is None:
        return "-"
    return f"{format_percent(row.gain, sign='+')} ± {format_percent(row.speedup_ci95 or 0.0)}"


def _percent(share: float | None) -> str:
    return "-" if share is None else format_percent(share)


def document(found: ResultsDifference) -> dict[str, Any]:
    """A `pghot.compare-diff/1` document."""
    return {
        "schema": SCHEMA,
        "simulated": True,
        "verdict": {"before": found.before.verdict.headline, "after": found.after.verdict.headline},
        "setup": {name: {"before": old, "after": new} for name, (old, new) in found.setup.items()},
        "runs": rows(found),
    }


def rows(found: ResultsDifference) -> list[dict[str, Any]]:
    """Each run with its figures before and after, None where there are none; gains are shares."""
    return [
        {
            "label": run.label,
            **{
                f"{name}_{place}": getattr(row, field) if row else None
                for name, field in _FIGURES.items()
                for place, row in (("before", run.before), ("after", run.after))
            },
            "gained": run.gained,
            "apart": run.apart,
        }
        for run in found.runs
    ]


_FIGURES = {
    "gain": "gain",
    "gain_ci95": "speedup_ci95",
    "fast_miss_share": "fast_miss_share",
    "moved_mb": "moved_mb",
}


def table(found: ResultsDifference) -> pa.Table:
    """A line for each run."""
    import pyarrow as pa

    return pa.Table.from_pylist(rows(found))
