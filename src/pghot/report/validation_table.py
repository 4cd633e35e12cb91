"""A validation as text: published and simulated values side by side, and whether they are near enough."""

from __future__ import annotations

from pghot.lab.validate import Cell, ValidationResult
from pghot.printable import elided, printable
from pghot.units import format_share


def render(result: ValidationResult) -> str:
    """Title, a line for each cell, what is out of order, the notes, the outcome; ends with an empty line."""
    state = "ok" if result.ok else "MISSED"
    mean_bar = "" if result.mean_bar is None else f", bar {format_share(result.mean_bar)}"
    lines = [
        result.title,
        f"published in {result.published_in}",
        "",
        f"{'row':28} {'column':24} {'published':>9} {'simulated':>9} {'error':>7}  made by",
        *(_line(cell) for cell in result.cells),
        *result.order_errors,
        *result.notes,
        f"{result.name}: {state}, worst error {format_share(result.worst_error)}, bar {format_share(result.bar)}; "
        f"mean {format_share(result.mean_error)}{mean_bar}",
        "",
    ]
    return "\n".join(map(printable, lines))


def _line(cell: Cell) -> str:
    return (
        f"{elided(printable(cell.row), 28):28} {elided(printable(cell.column), 24):24} {cell.published:9.3f} "
        f"{cell.simulated:9.3f} {format_share(cell.error, sign='+'):>8}  {'fitted' if cell.fitted else 'predicted'}"
    )
