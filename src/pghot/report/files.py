"""Writes results to files. The extension decides the format of a comparison: .html, .parquet, .csv or .arrow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pghot.errors import NotPermittedError, UsageError
from pghot.outputs import check_free, write_bytes

if TYPE_CHECKING:
    import pyarrow as pa

    from pghot.lab.results import Comparison
    from pghot.lab.share_curves import ShareCurves

TABLES = (".parquet", ".csv", ".arrow")
PICTURES = (".png", ".svg", ".pdf")
PAGES = (".html",)
EXTENSIONS = (*PAGES, *TABLES)


def check_output(path: Path, force: bool, extensions: Sequence[str] = EXTENSIONS) -> None:
    """Refuse an output that could not be written, before the replay starts."""
    if path.suffix not in extensions:
        names = extensions[0] if len(extensions) == 1 else f"one of {', '.join(extensions)}"
        raise UsageError(f"cannot write '{path}': unknown format", f"end the name in {names}")
    check_free(path, force)
    if not path.parent.is_dir():
        raise UsageError(f"no directory '{path.parent}'", "make it first, or name another file")
    if not os.access(path.parent, os.W_OK):
        raise NotPermittedError(f"cannot write {path}", "name a file in a directory that you may write to")


def write_output(result: Comparison | ShareCurves, path: Path, command: list[str], force: bool) -> None:
    """Write `result` to `path`; tables hold the summary, at every share if there are several."""
    from pghot.lab.results import Comparison

    if path.suffix in TABLES:
        write_table(result.summary, path, force)
    elif isinstance(result, Comparison):
        from pghot.report.comparison_page import render

        write_page(render(result, command), path, force)
    else:
        from pghot.report.shares_picture import draw

        write_bytes(path, draw(result, path.suffix), force)


def write_page(page: str, path: Path, force: bool) -> None:
    """Write a page of HTML."""
    write_bytes(path, page.encode(), force)


def write_table(table: pa.Table, path: Path, force: bool) -> None:
    """Write a table as one of `TABLES`; a CSV file leaves out lists and maps."""
    write_bytes(path, _table_bytes(table, path.suffix), force)


def _table_bytes(table: pa.Table, suffix: str) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    if suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, sink)
    elif suffix == ".csv":
        import pyarrow.csv as csv

        flat = [name for name in table.column_names if not pa.types.is_nested(table.schema.field(name).type)]
        csv.write_csv(table.select(flat), sink)
    else:
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data
