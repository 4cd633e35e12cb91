"""What a notebook shows and a terminal prints: tables and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path


@dataclass(frozen=True, slots=True, repr=False)
class Table:
    """Rows of text. A row with one cell heads those below it.

    left  how many columns are aligned to the left; the others are numbers
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1

    def __repr__(self) -> str:
        """Aligned columns."""
        full = [self.head, *(row for row in self.rows if len(row) > 1)]
        widths = [max(len(row[column]) for row in full) for column in range(len(self.head))]
        return "\n".join(
            "  ".join(
                f"{cell:{width}}" if column < self.left else f"{cell:>{width}}"
                for column, (cell, width) in enumerate(zip(row, widths, strict=False))
            ).rstrip()
            for row in [self.head, *self.rows]
        )

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(cell.strip())}</th>" for cell in self.head)
        body = "".join(
            f'<tr><th colspan="{len(self.head)}">{escape(row[0])}</th></tr>'
            if len(row) == 1
            else "<tr>" + "".join(f"<td>{escape(cell.strip())}</td>" for cell in row) + "</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


@dataclass(frozen=True, slots=True, repr=False)
class Picture:
    """A picture that is drawn when it is needed.

    title  what it shows
    draw   takes a suffix, one of `report.files.PICTURES`
    """

    title: str
    draw: Callable[[str], bytes]

    def __repr__(self) -> str:
        return f"<Picture of {self.title}; save(FILE) writes .png, .svg or .pdf>"

    def _repr_png_(self) -> bytes:
        return self.draw(".png")

    def save(self, path: str | Path, force: bool = False) -> None:
        """Write it; the name's suffix says what. Raises as `check_output` and `write_bytes` do."""
        from pghot.outputs import write_bytes
        from pghot.report.files import PICTURES, check_output

        check_output(Path(path), force, PICTURES)
        write_bytes(Path(path), self.draw(Path(path).suffix), force)
