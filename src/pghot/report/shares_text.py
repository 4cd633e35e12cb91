"""Curves over the fast tier's share as text: for each metric a table with a row for each run and a column for each
share, and the verdict at each share."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from pghot.lab.metrics import METRICS, Metric
from pghot.lab.outcomes import SummaryRow
from pghot.lab.share_curves import ShareCurves
from pghot.printable import printable
from pghot.report.comparison_text import by_class, footnotes, setup_lines
from pghot.units import format_share, format_size

COLUMNS = ("slowdown", "moved_mb", "fast_miss_share")


def render(found: ShareCurves, columns: Sequence[str]) -> str:
    """The text that `pghot compare` prints for several shares.

    columns  metrics; none of them stands for `COLUMNS`
    """
    first = found.comparisons[0]
    head = [line for line in setup_lines(first.setup) if not line.startswith("tiers: ")]
    lines = [*_wrapped([*head, f"tiers: {first.setup.tiers}"])]
    for name in columns or COLUMNS:
        lines += ["", *_table(found, next(metric for metric in METRICS if metric.name == name))]
    notes = dict.fromkeys(note for each in found.comparisons for note in footnotes(each))
    verdicts = [
        f"{format_share(share)}: {each.verdict.headline}"
        + (f" The best is {each.verdict.best}." if each.verdict.best else "")
        for share, each in zip(found.shares, found.comparisons, strict=True)
    ]
    return "\n".join([*lines, "", *_wrapped([*notes]), "", *_wrapped(verdicts)])


def table_rows(found: ShareCurves, metric: Metric) -> list[tuple[str, list[str]]]:
    """A head of shares, their bytes, and a row for each run below its class, which has no cells."""
    rows: list[tuple[str, list[str]]] = [
        (metric.title or metric.name, [format_share(share) for share in found.shares]),
        ("", [format_size(size) for size in found.fast_bytes()]),
    ]
    line_of = {line[0].label: line for line in found.lines()}
    best = [each.verdict.best_labels for each in found.comparisons]
    for title, members in by_class([line[0] for line in line_of.values()]):
        rows.append((f"{title}:", []))
        rows += [
            (
                f"  {row.label}",
                [
                    _cell(at, metric, at.label in marked)
                    for at, marked in zip(line_of[row.label], best, strict=True)
                ],
            )
            for row in members
        ]
    return rows


def _table(found: ShareCurves, metric: Metric) -> list[str]:
    rows = table_rows(found, metric)
    wide = max(len(label) for label, cells in rows if cells)
    widths = [max(len(cells[column]) for _, cells in rows if cells) for column in range(len(found.shares))]
    return [
        (
            f"{label:{wide}}" + "".join(f"  {c:>{width}}" for c, width in zip(cells, widths, strict=False))
        ).rstrip()
        for label, cells in rows
    ]


def _cell(row: SummaryRow, metric: Metric, best: bool) -> str:
    value, half = row.cell(metric)
    if value is None:
        return "-"
    spread = f"±{half:.{metric.digits}f}" if half is not None and metric.unit == "x" else ""
    return f"{'*' if best else ''}{value:,.{metric.digits}f}{spread}"


def _wrapped(lines: Sequence[str]) -> list[str]:
    return [
        part
        for line in lines
        for part in textwrap.wrap(printable(line), 100, subsequent_indent="  ", break_on_hyphens=False)
    ]
