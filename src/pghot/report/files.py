"""Writes results to files. The extension decides the format of a comparison: .html, .parquet, .csv or .arrow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pghot.errors import NotPermittedError, UsageError, not_written

if TYPE_CHECKING:
    import pyarrow as pa

    from pghot.lab.results import Comparison

EXTENSIONS = (".html", ".parquet", ".csv", ".arrow")


def check_output(path: Path, force: bool, extensions: Sequence[str] = EXTENSIONS) -> None:
    """Refuse an output that could not be written, before the replay starts."""
    if path.suffix not in extensions:
        names = extensions[0] if len(extensions) == 1 else f"one of {', '.join(extensions)}"
        raise UsageError(f"cannot write '{path}': unknown format", f"end the name in {names}")
    if path.exists() and not force:
        raise UsageError(f"will not overwrite {path}", "use --force, or name another file")
    if not path.parent.is_dir():
        raise UsageError(f"no directory '{path.parent}'", "make it first, or name another file")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise NotPermittedError(f"cannot write {path}", "name a file you may write")


def write_output(result: Comparison, path: Path, command: list[str]) -> None:
    """Write `result` to `path`; tables hold the summary."""
    try:
        if path.suffix == ".html":
            from pghot.report.comparison_page import render

            path.write_text(render(result, command), "utf-8")
        else:
            _write_table(result.summary, path)
    except OSError as error:
        raise not_written(path, error) from error


def write_page(page: str, path: Path) -> None:
    """Write a page of HTML."""
    try:
        path.write_text(page, "utf-8")
    except OSError as error:
        raise not_written(path, error) from error


def _write_table(table: pa.Table, path: Path) -> None:
    import pyarrow as pa

    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, path)
    elif path.suffix == ".csv":
        import pyarrow.csv as csv

        flat = [name for name in table.column_names if not pa.types.is_nested(table.schema.field(name).type)]
        csv.write_csv(table.select(flat), path)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
