"""What the reports of a recording share: their arguments, and where they are written to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pghot.cli.given import GoesWith
from pghot.cli.progress import after_a_while, progress_on_stderr

if TYPE_CHECKING:
    import pyarrow as pa

    from pghot.recording.reader import Recording
    from pghot.recording.totals import AddsUp

RecordingName = Annotated[str, typer.Argument(metavar="FILE", help="FILE or bundled:NAME")]
Output = Annotated[
    list[str] | None,
    typer.Option("--output", "-o", help="FILE.html, .png, .svg, .pdf, .csv, .parquet, .arrow"),
]
TraceOutput = Annotated[
    list[str] | None,
    typer.Option(
        "--output", "-o", help="FILE.html, .png, .svg, .pdf, .csv, .parquet, .arrow, .perfetto-trace"
    ),
]
PageOutput = Annotated[
    list[str] | None, typer.Option("--output", "-o", help="FILE.html: a page that works offline")
]
Force = Annotated[bool, typer.Option("--force", help="overwrite outputs")]
GOES_WITH = (GoesWith("--output", lambda of: of["output"], ("force",)),)


def checked(
    output: Sequence[str] | None,
    force: bool,
    pictures: bool = True,
    tables: bool = True,
    more: Sequence[str] = (),
) -> list[Path]:
    """The outputs, each of which can be written. Raises as `check_output`.

    more  suffixes of files of still other kinds
    """
    from pghot.report.files import PAGES, PICTURES, TABLES, check_output

    paths = [Path(path) for path in output or []]
    for path in paths:
        check_output(
            path, force, (*PAGES, *(TABLES if tables else ()), *(PICTURES if pictures else ()), *more)
        )
    return paths


def wants_page(paths: Sequence[Path]) -> bool:
    """Whether one of the outputs is a page."""
    from pghot.report.files import PAGES

    return any(path.suffix in PAGES for path in paths)


def opened(name: str) -> Recording:
    """The recording, of which something will be read. Announces compilation."""
    from pghot.cli.compiling import REPORT, announce_compilation
    from pghot.recording.bundled import open_named

    recording = open_named(name, after_a_while(progress_on_stderr("importing")))
    announce_compilation(REPORT)
    return recording


@dataclass(frozen=True, slots=True)
class Makes:
    """How a report becomes a file of each kind; `draw` takes the suffix of the picture, `others` have a suffix each."""

    page: Callable[[], str]
    draw: Callable[[str], bytes]
    table: Callable[[], pa.Table]
    others: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)


def write_all(paths: Sequence[Path], force: bool, makes: Makes) -> None:
    """Write the report to each path."""
    from pghot.outputs import write_bytes
    from pghot.report.files import PAGES, PICTURES, write_page, write_table

    for path in paths:
        if path.suffix in PAGES:
            write_page(makes.page(), path, force)
        elif path.suffix in PICTURES:
            write_bytes(path, makes.draw(path.suffix), force)
        elif path.suffix in makes.others:
            write_bytes(path, makes.others[path.suffix](), force)
        else:
            write_table(makes.table(), path, force)
        print(f"wrote {path}", file=sys.stderr)


def read(recording: Recording, *parts: AddsUp) -> None:
    """Read the recording once, and show progress when that takes a while."""
    from pghot.recording.totals import read_once

    read_once(recording, *parts, progress=after_a_while(progress_on_stderr("reading")))
